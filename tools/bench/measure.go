package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"contenttrust/internal/testkit/adotest"
	"contenttrust/internal/testkit/agenttest"
	"contenttrust/internal/testkit/rig"
)

// bench is one stack, on which both ways work in turns.
type bench struct {
	stack   *rig.Stack
	task    string
	rounds  int
	trusted rig.Trusted
	azure   *adotest.Server
}

// measurement is one run of one way.
type measurement struct {
	took        time.Duration
	trust       int // requests to the trust server
	connections int
	memory      int // MB, at most
	log         int // bytes
}

const fileID = "9d6a2f0a-52f2-4c0e-9d5c-3f0a6c1b7e55"

func (b *bench) prepare(ctx context.Context) error {
	if err := b.stack.Engine.TrustCA(b.stack.Front.Host, b.stack.Front.CAPEM); err != nil {
		return err
	}
	admin, err := b.stack.Person(ctx, rig.Administrator)
	if err != nil {
		return err
	}
	if b.trusted, err = admin.InitRepository(ctx, "team/app", "alice", rig.ByNotary); err != nil {
		return err
	}
	if b.azure, err = adotest.New(adotest.Options{}); err != nil {
		return err
	}
	b.azure.Put(adotest.File{ID: fileID, Name: "alice.pem", Content: b.trusted.Key.PrivatePEM, Ticket: "ticket-for-alice"})
	return nil
}

// way is one way to do the job, with so many tags.
type way struct {
	name string
	do   func(ctx context.Context, tags int) (measurement, error)
}

// ways are those that are compared; the first is what a user has today, the second what the ratio is of.
func (b *bench) ways() []way {
	return []way{
		{"docker CLI 28, buildx", func(ctx context.Context, tags int) (measurement, error) { return b.docker(ctx, tags, true) }},
		{"contenttrust", func(ctx context.Context, tags int) (measurement, error) { return b.ours(ctx, tags, 0, true) }},
		{"docker CLI 28, classic builder", func(ctx context.Context, tags int) (measurement, error) { return b.docker(ctx, tags, false) }},
		{"through the launcher", func(ctx context.Context, tags int) (measurement, error) { return b.ours(ctx, tags, 0, false) }},
	}
}

// inTurns measures all ways one after the other, round by round, and gives the medians.
func (b *bench) inTurns(ctx context.Context, delay time.Duration, tags int) ([]measurement, error) {
	ways := b.ways()
	all := make([][]measurement, len(ways))
	b.stack.Front.SetDelay(delay)
	for round := range b.rounds + 1 {
		for i, way := range ways {
			m, err := way.do(ctx, tags)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
			if round > 0 { // the first warms the caches of the Engine and of the system
				all[i] = append(all[i], m)
			}
		}
	}
	medians := make([]measurement, len(ways))
	for i := range all {
		medians[i] = median(all[i])
	}
	return medians, nil
}

func median(all []measurement) measurement {
	slices.SortFunc(all, func(a, b measurement) int { return int(a.took - b.took) })
	return all[len(all)/2]
}

// sources makes the same sources for both: one layer that is new each time, so that each push has something to push, and
// steps that print two megabytes each, which is where BuildKit cuts a step's log.
func sources(dir string, steps int) error {
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return err
	}
	dockerfile := "FROM scratch\nCOPY busybox /bin/busybox\n"
	for i := range steps {
		dockerfile += fmt.Sprintf("RUN [\"/bin/busybox\", \"sh\", \"-c\", \"echo %s %d; /bin/busybox yes a line of a build that has much to say | /bin/busybox head -c 2000000\"]\n", rand.Text(), i)
	}
	dockerfile += "COPY app.txt /\n"
	return errors.Join(
		os.WriteFile(filepath.Join(dir, "busybox"), busybox, 0o700),
		os.WriteFile(filepath.Join(dir, "app.txt"), []byte(rand.Text()), 0o600),
		os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600),
	)
}

func names(n int) []string {
	prefix := strings.ToLower(rand.Text()[:8])
	tags := make([]string, n)
	for i := range tags {
		tags[i] = fmt.Sprintf("%s-%d", prefix, i)
	}
	return tags
}

// docker does the job with the docker CLI 28, as the documentation of Azure Pipelines has it.
func (b *bench) docker(ctx context.Context, tags int, buildx bool) (measurement, error) {
	person, err := b.stack.Person(ctx, rig.Signer)
	if err != nil {
		return measurement{}, err
	}
	if buildx {
		if err := person.UseBuildx(ctx); err != nil {
			return measurement{}, err
		}
	}
	key := filepath.Join(person.Home, "alice.pem")
	if err := errors.Join(os.WriteFile(key, b.trusted.Key.PrivatePEM, 0o600), sources(person.Home, 0)); err != nil {
		return measurement{}, err
	}
	var images []string
	build := []string{"build", "-q", "-f", filepath.Join(person.Home, "Dockerfile")}
	for _, tag := range names(tags) {
		images = append(images, b.trusted.GUN+":"+tag)
		build = append(build, "-t", b.trusted.GUN+":"+tag)
	}
	b.stack.Front.ResetLog()
	begun := time.Now()
	steps := [][]string{
		{"login", "-u", rig.Signer, "-p", b.stack.Users[rig.Signer].Password, b.stack.Front.Host},
		{"trust", "key", "load", "--name", "alice", key},
		append(build, person.Home),
	}
	for _, step := range steps {
		if _, err := person.Docker(ctx, step...); err != nil {
			return measurement{}, err
		}
	}
	for _, image := range images {
		if _, err := person.DockerTrusted(ctx, "push", "-q", image); err != nil {
			return measurement{}, err
		}
	}
	return b.counted(measurement{took: time.Since(begun)}), nil
}

var peak = regexp.MustCompile(`(\d+) MB of memory at most`)

// ours does the job with the staged task: all three phases, as an agent runs them through the launcher, or the executable
// alone, as the docker CLI is measured alone and without the Node of the tasks that would start it.
func (b *bench) ours(ctx context.Context, tags, steps int, alone bool) (measurement, error) {
	signer := b.stack.Users[rig.Signer]
	agent, err := agenttest.New(agenttest.Options{
		Task: b.task, Collection: b.azure.CollectionURI(), Project: "Content Trust", ProjectID: "6ce954b1-ce1f-45d1-b94d-e6bf2464ba2c",
		AccessToken: "job-access-token", Direct: alone, HostType: "build", Env: map[string]string{"DOCKER_HOST": b.stack.Engine.Host},
	})
	if err != nil {
		return measurement{}, err
	}
	defer agent.Close()
	agent.AddSecureFile(agenttest.SecureFile{ID: fileID, Name: "alice.pem", Ticket: "ticket-for-alice"})
	agent.AddConnection(agenttest.Connection{
		ID: "3f0c8b52-6d0c-4c57-8a0e-9a4a1c0b2d11", Name: "registry", URL: b.stack.Front.URL, Scheme: "UsernamePassword",
		Parameters: map[string]string{"registry": b.stack.Front.URL, "username": rig.Signer, "password": signer.Password},
		Data:       map[string]string{"registrytype": "Others"},
	})
	ca := filepath.Join(agent.Sources, "ca.crt")
	if err := errors.Join(sources(agent.Sources, steps), os.WriteFile(ca, b.stack.Front.CAPEM, 0o600)); err != nil {
		return measurement{}, err
	}
	step, err := agent.Step(agenttest.StepOptions{Inputs: map[string]string{
		"containerRegistry": "registry", "repository": b.trusted.Repository, "tags": strings.Join(names(tags), "\n"),
		"delegationKey": "alice.pem", "caFile": ca,
	}})
	if err != nil {
		return measurement{}, err
	}
	b.stack.Front.ResetLog()
	begun := time.Now()
	results, err := step.RunAll(ctx)
	m := measurement{took: time.Since(begun)}
	if err != nil {
		return m, err
	}
	main := results[agenttest.Main]
	if main.Result != agenttest.Succeeded {
		return m, fmt.Errorf("the step ended as %s:\n%s", main.Result, main.Log)
	}
	if found := peak.FindStringSubmatch(main.RawLog); found != nil {
		m.memory, _ = strconv.Atoi(found[1])
	}
	m.log = len(main.RawLog)
	return b.counted(m), nil
}

// counted adds what the front has seen since the last ResetLog.
func (b *bench) counted(m measurement) measurement {
	for _, request := range b.stack.Front.Requests() {
		if strings.Contains(request.Path, "/_trust/") {
			m.trust++
		}
	}
	m.connections = b.stack.Front.Connections()
	return m
}
