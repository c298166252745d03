// Command bench measures a signed buildAndPush beside what a user would pick instead: the docker CLI 28 in the documented
// way, which is login, docker trust key load, build, and one push under content trust for each tag. Both work on the same
// Engine, registry and Notary server, in turns, in one run. What counts are the ratios; the machine's own speed does not.
//
//	go run ./tools/bench            print the tables
//	go run ./tools/bench -write     and put them into docs/performance.md
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"contenttrust/internal/testkit/rig"
)

func main() {
	write := flag.Bool("write", false, "put the tables into docs/performance.md")
	rounds := flag.Int("rounds", 3, "how often each is measured; the median counts")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *rounds, *write)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, rounds int, write bool) error {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	stage := exec.CommandContext(ctx, "go", "run", "./tools/package", "-host-only", "-dist", dir)
	if said, err := stage.CombinedOutput(); err != nil {
		return fmt.Errorf("stage the task: %w\n%s", err, said)
	}
	stack, err := rig.Start(ctx, rig.Options{Engine: rig.Debian})
	if err != nil {
		return err
	}
	defer stack.Close()
	b := &bench{stack: stack, task: filepath.Join(dir, "task"), rounds: rounds}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	var page strings.Builder
	if err := b.compareTime(ctx, &page); err != nil {
		return err
	}
	if err := b.compareMemory(ctx, &page); err != nil {
		return err
	}
	fmt.Print(page.String())
	if !write {
		return nil
	}
	return writePage("docs/performance.md", page.String())
}

// marker is where the measured tables begin in the page; what is above is written by hand.
const marker = "<!-- measured: make bench writes all that follows -->\n"

func writePage(path, tables string) error {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, _, found := strings.Cut(string(old), marker)
	if !found {
		return fmt.Errorf("%s has no line %q", path, strings.TrimSpace(marker))
	}
	return os.WriteFile(path, []byte(head+marker+"\n"+tables), 0o600)
}

// compareTime measures both ways for 1 and 20 tags, with 0 and 20 ms added to every request.
func (b *bench) compareTime(ctx context.Context, page *strings.Builder) error {
	page.WriteString("| added | tags |")
	for _, way := range b.ways() {
		page.WriteString(" " + way.name + " |")
	}
	page.WriteString(" **ratio** | aim | trust requests | connections |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, delay := range []time.Duration{0, 20 * time.Millisecond} {
		for _, tags := range []int{1, 20} {
			m, err := b.inTurns(ctx, delay, tags)
			if err != nil {
				return err
			}
			fmt.Fprintf(page, "| %d ms | %d |", delay.Milliseconds(), tags)
			for _, one := range m {
				fmt.Fprintf(page, " %.2f s |", one.took.Seconds())
			}
			aim := map[bool]string{true: map[int]string{1: "≤ 0.6", 20: "≤ 0.1"}[tags], false: ""}[delay > 0]
			fmt.Fprintf(page, " **%.2f** | %s | %d → %d | %d → %d |\n", m[1].took.Seconds()/m[0].took.Seconds(), aim,
				m[0].trust, m[1].trust, m[0].connections, m[1].connections)
		}
	}
	return nil
}

// compareMemory measures our process with a short and with a long build log.
func (b *bench) compareMemory(ctx context.Context, page *strings.Builder) error {
	page.WriteString("\n| build log | peak memory of our process | aim |\n|---|---|---|\n")
	for _, steps := range []int{0, 12} {
		b.stack.Front.SetDelay(0)
		m, err := b.ours(ctx, 1, steps, false)
		if err != nil {
			return err
		}
		fmt.Fprintf(page, "| %.1f MB | %d MB | ≤ 60 MB |\n", float64(m.log)/1e6, m.memory)
	}
	return nil
}
