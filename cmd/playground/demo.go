package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"contenttrust/internal/registry"
	"contenttrust/internal/secret"
	"contenttrust/internal/testkit/agenttest"
	"contenttrust/internal/testkit/playground"
	"contenttrust/internal/testkit/rig"
	"contenttrust/internal/trust"
)

// stagedTask is where make demo has staged the task, seen from the project's root.
const stagedTask = "dist/task"

// demo plays a pipeline with one step, and shows what a person would see of it.
func demo(ctx context.Context, out io.Writer) error {
	engine, err := startEngine(ctx, out)
	if err != nil {
		return err
	}
	defer engine.Close()
	world, err := playground.New(playground.Options{})
	if err != nil {
		return err
	}
	defer world.Close()
	agent, err := world.Agent(stagedTask, agentOptions(engine.Host))
	if err != nil {
		return err
	}
	defer agent.Close()
	if err := writeSources(ctx, agent.Sources); err != nil {
		return err
	}
	scene(out, "The administrator has initialised %s and admitted the signer %q; the signer's key is the secure file %q.", world.GUN, playground.SignerName, world.File.Name)
	scene(out, "The pipeline has one step (examples/azure-pipelines.yml). This is its log:")
	main, err := play(ctx, out, world, agent)
	if err != nil {
		return err
	}
	scene(out, "The summary on the run's Extensions tab:")
	fmt.Fprintln(out, main.Summary)
	if err := verify(ctx, out, world, main.OutputVariables["imageDigest"]); err != nil {
		return err
	}
	return whatWasLeft(out, world, agent)
}

// startEngine takes the Engine that is there, or starts a private one, for which it may install Debian's packages.
func startEngine(ctx context.Context, out io.Writer) (*rig.Engine, error) {
	host := os.Getenv("DOCKER_HOST")
	if host == "" {
		host = "unix:///var/run/docker.sock"
	}
	engine, err := rig.StartEngine(ctx, rig.Existing, host)
	if err == nil {
		scene(out, "Engine %s at %s, %s image store.", engine.Version, engine.Host, engine.Store)
		return engine, nil
	}
	if os.Getenv("DOCKER_HOST") != "" {
		return nil, fmt.Errorf("the Engine at DOCKER_HOST does not answer: %w", err)
	}
	scene(out, "No Engine answers at %s: starting a private one for this demo (needs root; missing Debian packages are installed).", host)
	if err := rig.Packages(ctx); err != nil {
		return nil, err
	}
	return rig.StartEngine(ctx, rig.Debian, "")
}

// agentOptions runs the task through its launcher as an agent does, or without it on a machine that has no Node.
func agentOptions(engine string) agenttest.Options {
	_, err := exec.LookPath("node")
	return agenttest.Options{
		Direct: err != nil, HostType: "build",
		Variables: map[string]string{"Build.BuildId": "42", "Build.Repository.Name": "app", "Build.SourceVersion": "0123abc"},
		Env:       map[string]string{"DOCKER_HOST": engine},
	}
}

// writeSources is the checkout: the example's Dockerfile, and its program built for the Engine.
func writeSources(ctx context.Context, sources string) error {
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", filepath.Join(sources, "hello"), "./examples/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if said, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the example: %w\n%s", err, said)
	}
	dockerfile, err := os.ReadFile("examples/app/Dockerfile")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(sources, "Dockerfile"), dockerfile, 0o600)
}

// play runs the step's three phases and shows each one's log, as the agent masks it.
func play(ctx context.Context, out io.Writer, world *playground.World, agent *agenttest.Agent) (agenttest.Result, error) {
	step, err := agent.Step(agenttest.StepOptions{Name: "sign", Inputs: world.Inputs("$(Build.BuildId)\nlatest\nstable")})
	if err != nil {
		return agenttest.Result{}, err
	}
	begun := time.Now()
	results, err := step.RunAll(ctx)
	if err != nil {
		return agenttest.Result{}, err
	}
	for _, phase := range []agenttest.Phase{agenttest.Pre, agenttest.Main, agenttest.Post} {
		for line := range strings.Lines(results[phase].Log) {
			fmt.Fprintf(out, "  %-4s │ %s\n", phase, strings.TrimRight(line, "\n"))
		}
	}
	main := results[agenttest.Main]
	if results[agenttest.Pre].Failed() || main.Failed() {
		return main, errors.New("the step failed; its log says why")
	}
	scene(out, "All three phases took %.1f s.", time.Since(begun).Seconds())
	return main, nil
}

// verify asks again with what a deployment would have: the root key's pin and the names of the tags.
func verify(ctx context.Context, out io.Writer, world *playground.World, digest string) error {
	scene(out, "Verified from outside, with the root key pinned and nothing remembered:")
	_, canonical, err := world.Owner.RootKeys(world.GUN)
	if err != nil {
		return err
	}
	repository, err := registry.ParseRepository(world.GUN)
	if err != nil {
		return err
	}
	client, err := registry.New(registry.Options{
		Repository: repository, Transport: world.Front.Client().Transport,
		Credential: registry.Credential{Username: playground.User, Password: secret.New(world.Password)},
	})
	if err != nil {
		return err
	}
	state, err := trust.Open(trust.Options{
		GUN: world.GUN, Server: client.TrustServer(), Transport: client.TrustTransport(), Pins: []trust.Pin{{ID: canonical[0]}}, RequirePin: true,
	}).Read(ctx)
	if err != nil {
		return err
	}
	for _, tag := range []string{"42", "latest", "stable"} {
		held, err := client.Manifest(ctx, tag)
		if err != nil {
			return err
		}
		target, role, ok := state.Released(tag)
		if !ok || target.Digest != digest || held.Digest != digest {
			return fmt.Errorf("%s: the registry holds %s, the trust data say %q, the step said %s", tag, held.Digest, target.Digest, digest)
		}
		fmt.Fprintf(out, "  %-7s %s  signed in %s by %s\n", tag, digest, role, state.Signers(tag)[0].Signer)
	}
	return nil
}

// whatWasLeft looks for the key and the credential in all folders of the agent.
func whatWasLeft(out io.Writer, world *playground.World, agent *agenttest.Agent) error {
	firstLine := strings.Split(string(world.PrivatePEM), "\n")[1]
	leaks, err := agenttest.FindBytes([]string{agent.Temp, agent.Tools, agent.Home}, []byte(world.Password), []byte(firstLine))
	if err != nil {
		return err
	}
	if len(leaks) > 0 {
		return fmt.Errorf("left behind: %v", leaks)
	}
	scene(out, "Nothing of the key or the credential is left in the agent's temp, tools and home folders.")
	scene(out, `What to look at next:
  - examples/azure-pipelines.yml   the step as you would write it
  - docs/inputs.md, docs/errors.md every input, every error with what to do
  - docs/layout.md                 how one run goes through the code, in ten steps
  - make package                   the extension for your organisation, in dist/`)
	return nil
}

// scene tells the reader what comes next.
func scene(out io.Writer, format string, args ...any) {
	fmt.Fprintf(out, "\n▶ "+format+"\n", args...)
}
