// A Go program whose goroutines contend for the lock of the process's memory map, for as many seconds as its argument
// says. Its threads bear a name that belongs to another runtime: a name proves nothing.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

const (
	storms    = 4
	length    = 4 << 20
	prSetName = 15
)

func rename() {
	name := append([]byte("tokio-runtime-w"), 0)
	syscall.RawSyscall(syscall.SYS_PRCTL, prSetName, uintptr(unsafe.Pointer(&name[0])), 0)
}

func storm(until time.Time) error {
	runtime.LockOSThread()
	rename()
	for time.Now().Before(until) {
		// The lock is held while all the pages are made, on every kernel: long enough for the others to wait.
		flags := syscall.MAP_PRIVATE | syscall.MAP_ANON | syscall.MAP_POPULATE
		memory, err := syscall.Mmap(-1, 0, length, syscall.PROT_READ|syscall.PROT_WRITE, flags)
		if err != nil {
			return err
		}
		if err := syscall.Munmap(memory); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: nfslat-go-storm SECONDS")
		os.Exit(2)
	}
	seconds, err := strconv.ParseFloat(os.Args[1], 64)
	if err != nil {
		fmt.Fprintln(os.Stderr, "nfslat-go-storm: not a number of seconds:", err)
		os.Exit(2)
	}
	until := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	var group sync.WaitGroup
	for i := 0; i < storms; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			if err := storm(until); err != nil {
				fmt.Fprintln(os.Stderr, "nfslat-go-storm:", err)
				os.Exit(1)
			}
		}()
	}
	group.Wait()
}
