package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"signalbox/config"
)

// maxShared is more than any shared file of settings is long, in bytes.
const maxShared = 16 << 20

// sharedFile is a file of settings that other programs write too.
type sharedFile struct {
	path string
	// within bounds where a symbolic link may lead; empty lets it lead to any file of the user's own. A cloned repository may
	// hold links, and none of them may make a command write elsewhere.
	within string
	// mode and folderMode are those of a file and a folder that are made new.
	mode, folderMode fs.FileMode
}

// rewrite replaces the file by what change makes of it. The new text is complete on the disk before it takes the file's place,
// so that a reader finds the old one or the new one, and two who change at once wait for each other: the folder is locked from the
// reading to the writing. Mode and owner stay; a symbolic link stays one, and the file behind it is changed.
func (f sharedFile) rewrite(change func(data []byte) ([]byte, error)) error {
	if err := os.MkdirAll(filepath.Dir(f.path), f.folderMode); err != nil {
		return err
	}
	path, err := f.settle()
	if err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	if err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", dir.Name(), err)
	}
	data, st, err := readShared(path)
	if err != nil {
		return err
	}
	next, err := change(data)
	var broken *config.Error
	if errors.As(err, &broken) {
		broken.File = f.path
	}
	if err != nil {
		return err
	}
	if st != nil && bytes.Equal(next, data) {
		return nil
	}
	return replace(path, next, f.mode, st, dir)
}

// create writes a file that does not exist yet.
func (f sharedFile) create(data []byte) error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, f.mode)
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return errors.Join(err, file.Sync(), file.Close())
}

// readShared reads a file that may be missing; then its information is nil.
func readShared(path string) ([]byte, fs.FileInfo, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // opening a named pipe must not wait for its writer
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !st.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is no file", path)
	case st.Mode().Perm()&0o200 == 0:
		return nil, nil, fmt.Errorf("%s is write-protected; run: chmod u+w %s", path, path)
	case st.Size() > maxShared:
		return nil, nil, fmt.Errorf("%s is larger than 16 MiB", path)
	}
	data, err := io.ReadAll(file)
	return data, st, err
}

// replace puts data in the place of path.
func replace(path string, data []byte, mode fs.FileMode, old fs.FileInfo, dir *os.File) error {
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // gone by its new name when all went well
	defer temp.Close()
	if old != nil {
		mode = old.Mode().Perm()
		if was, ok := old.Sys().(*syscall.Stat_t); ok && (int(was.Uid) != os.Geteuid() || int(was.Gid) != os.Getegid()) {
			// Under sudo the file would become root's and its user could not read it any more.
			if err := temp.Chown(int(was.Uid), int(was.Gid)); err != nil && int(was.Uid) != os.Geteuid() {
				return fmt.Errorf("%s belongs to somebody else", path)
			}
		}
	}
	if err := temp.Chmod(mode); err != nil {
		return err
	}
	if _, err := temp.Write(data); err != nil {
		return err
	}
	if err := temp.Sync(); err != nil {
		return err
	}
	if err := temp.Close(); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return dir.Sync()
}

// settle is the file itself, behind all links.
func (f sharedFile) settle() (string, error) {
	folder, err := filepath.EvalSymlinks(filepath.Dir(f.path))
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, filepath.Base(f.path))
	st, err := os.Lstat(path)
	linked := err == nil && st.Mode()&fs.ModeSymlink != 0
	if linked {
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return "", fmt.Errorf("%s is a symbolic link to a file that does not exist", f.path)
		}
	}
	if f.within != "" {
		bound, err := filepath.EvalSymlinks(f.within)
		if err != nil {
			return "", err
		}
		if rel, err := filepath.Rel(bound, path); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			return "", fmt.Errorf("%s leads out of the folder, to %s; nothing is written there", f.path, path)
		}
	}
	if linked {
		if st, err = os.Stat(path); err != nil {
			return "", err
		}
		if was, ok := st.Sys().(*syscall.Stat_t); ok && int(was.Uid) != os.Getuid() {
			return "", fmt.Errorf("%s is a symbolic link to %s, which is not yours; nothing is written there", f.path, path)
		}
	}
	return path, nil
}
