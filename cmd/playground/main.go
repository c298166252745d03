// Command playground shows ContentTrust@1 at work on a stack of its own: a registry and a Notary server behind one TLS
// host as Azure Container Registry has it, Azure DevOps with a secure file, and an agent that runs the staged task. Only
// the Engine is real. It is for trying things out, and never shipped.
//
//	playground demo    one signed buildAndPush of examples/app, from the secure file to the proof
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "playground:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 || args[0] != "demo" {
		return fmt.Errorf("usage: playground demo")
	}
	return demo(ctx, os.Stdout)
}
