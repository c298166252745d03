// Command prepare gets everything that the end-to-end tests need, before they start: the Debian packages that are
// missing, when it may install them, and the programs that Debian does not have, built from the modules in tools/ into
// .cache/bin. With everything in place it takes no time.
//
//	go run ./tools/prepare
//	go run ./tools/prepare -packages    only the packages, which is quick: some unit tests ask the real notary-server too
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"

	"contenttrust/internal/testkit/rig"
)

func main() {
	packages := flag.Bool("packages", false, "only Debian's packages")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	begun := time.Now()
	prepare := func(ctx context.Context) error {
		return rig.Prepare(ctx, func(step string) {
			fmt.Printf("%6.1fs  %s\n", time.Since(begun).Seconds(), step)
		})
	}
	if *packages {
		prepare = rig.Packages
	}
	err := prepare(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "prepare:", err)
		os.Exit(1)
	}
	fmt.Printf("%6.1fs  everything is there\n", time.Since(begun).Seconds())
}
