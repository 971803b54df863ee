package cli

import (
	"charm.land/lipgloss/v2"
)

// The few colours of the command line.
var (
	styleGood  = lipgloss.NewStyle().Foreground(lipgloss.Green)
	styleBad   = lipgloss.NewStyle().Foreground(lipgloss.Red).Bold(true)
	styleTitle = lipgloss.NewStyle().Bold(true)
	styleFaint = lipgloss.NewStyle().Faint(true)
	styleLink  = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
)

// paint styles s when colour is on.
func paint(color bool, style lipgloss.Style, s string) string {
	if !color {
		return s
	}
	return style.Render(s)
}
