// Command prepare gets everything that the end-to-end tests need, before they start: the Debian packages that are
// missing, when it may install them, and the programs that Debian does not have, built from the modules in tools/ into
// .cache/bin. With everything in place it takes no time.
//
//	go run ./tools/prepare
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"time"

	"contenttrust/internal/testkit/rig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	begun := time.Now()
	err := rig.Prepare(ctx, func(step string) {
		fmt.Printf("%6.1fs  %s\n", time.Since(begun).Seconds(), step)
	})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
	fmt.Printf("%6.1fs  everything is there\n", time.Since(begun).Seconds())
}
