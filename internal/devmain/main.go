package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/signal"

	"github.com/sirupsen/logrus"

	"signalbox/config"
	"signalbox/server"
)

func main() {
	cfg, err := config.Load(config.LoadOptions{File: os.Args[1], Getenv: os.Getenv, Home: "/tmp/bg/home", Dir: "/tmp/bg/home"})
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	ctx, _ := signal.NotifyContext(context.Background(), os.Interrupt)
	l := logrus.New()
	l.SetFormatter(&logrus.JSONFormatter{})
	os.MkdirAll("/tmp/bg/state", 0o700)
	fmt.Println(server.Run(ctx, server.Options{Config: cfg, Log: l, Version: "dev", StateDir: "/tmp/bg/state", Ready: func(a net.Addr) { fmt.Println("ready", a) }}))
}
