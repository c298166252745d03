package task

import (
	"fmt"
	"strings"

	"contenttrust/internal/docker"
)

// dockerRules explain what the Engine, the Dockerfile and the build say.
func dockerRules() []rule {
	return []rule{
		on(func(e *docker.NotRunning) Explanation {
			return Explanation{codeEngineAbsent, "No Docker Engine answers at " + e.Host + ".",
				"Start Docker on this agent, or run the job on an agent that has it. In a container job set mapDockerSocket: true on the container.", nil}
		}),
		on(func(e *docker.NotPermitted) Explanation {
			return Explanation{codeEngineRights, "The agent's user may not open the Docker Engine's socket " + e.Host + ".",
				"Add the user to the group docker (`sudo usermod -aG docker USER`), and restart the agent.", nil}
		}),
		on(func(e *docker.BadHost) Explanation {
			return Explanation{codeEngineAddress, fmt.Sprintf("DOCKER_HOST is %q, which is no address of an Engine: %s.", e.Host, e.Reason), "Correct the variable, or take it away for this agent's own Engine.", nil}
		}),
		on(func(e *docker.BadTLS) Explanation {
			return Explanation{codeEngineAddress, fmt.Sprintf("The connection to the Engine at %s cannot be encrypted: %v.", e.Host, e.Err), "Correct DOCKER_CERT_PATH and the certificates in it.", nil}
		}),
		on(func(e *docker.NotAnEngine) Explanation {
			return Explanation{codeEngineAddress, fmt.Sprintf("What answers at %s is no Docker Engine: %v.", e.Host, e.Err), "Correct DOCKER_HOST.", nil}
		}),
		on(func(e *docker.WrongAPIVersion) Explanation {
			return Explanation{codeEngineVersion, fmt.Sprintf("The Engine refuses the API version: %v.", e), "Take the variable DOCKER_API_VERSION away; the version is negotiated. Without it, the Engine is older than 20.10.", nil}
		}),
		on(func(e *docker.NoDockerfile) Explanation {
			return Explanation{codeNoDockerfile, fmt.Sprintf("No Dockerfile matches %s below %s.", e.Pattern, e.Root), "Correct the input Dockerfile, or check that the checkout came before this step.", nil}
		}),
		on(func(e *docker.BadPattern) Explanation {
			return Explanation{codeNoDockerfile, fmt.Sprintf("The input Dockerfile is no pattern: %s: %s.", e.Pattern, e.Reason), "Write a path, or a pattern with * and ?.", nil}
		}),
		on(func(e *docker.NotAFile) Explanation {
			return Explanation{codeNoDockerfile, e.Path + " is no file.", "Name the Dockerfile itself in the input Dockerfile.", nil}
		}),
		on(func(e *docker.Unreadable) Explanation {
			return Explanation{codeNoDockerfile, fmt.Sprintf("%s cannot be read: %v.", e.Path, e.Err), "Give the agent's user the right to read it.", nil}
		}),
		on(func(e *docker.NoContext) Explanation {
			return Explanation{codeNoContext, "The build context " + e.Path + " is not there, or is no folder.", "Correct the input buildContext.", nil}
		}),
		on(explainDockerfile), on(explainBuild), on(explainPush),
		on(func(e *docker.NoImage) Explanation {
			return Explanation{codeImageGone, "The Engine no longer has the image " + e.Name + ".", "Look for another job that prunes images on this agent, and run the step again.", nil}
		}),
		on(func(e *docker.BadName) Explanation {
			return Explanation{codeInputs, fmt.Sprintf("The Engine does not take the image name %s: %s.", e.Name, e.Reason), "Correct repository or tags.", nil}
		}),
		on(func(e *docker.Unsupported) Explanation {
			return Explanation{codeEngineCannot, fmt.Sprintf("This Engine cannot do %s (%s).", e.Feature, e.Why), "Take it away, or use a newer Engine with the containerd image store.", nil}
		}),
	}
}

func explainDockerfile(e *docker.DockerfileError) Explanation {
	at := e.File
	if e.Line > 0 {
		at = fmt.Sprintf("%s, line %d", e.File, e.Line)
	}
	do := "Correct that line."
	if e.HereDocument {
		do = "Write `# syntax=docker/dockerfile:1` as the first line: this Engine is too old for here-documents without it."
	}
	return Explanation{codeDockerfile, fmt.Sprintf("The Dockerfile cannot be built (%s): %s. Nothing was pushed.", at, strings.TrimSuffix(e.Text, ".")), do, nil}
}

func explainBuild(e *docker.BuildError) Explanation {
	if e.Registry != docker.ReasonNone {
		return Explanation{codeBuildBase, fmt.Sprintf("A base image could not be had: %s: %v. Nothing was pushed.", e.Step, e.Cause),
			"Check its name, and that the service connection's identity may pull it.", nil}
	}
	what := "The build failed"
	if e.Step != "" {
		what += " at " + e.Step
	}
	if e.ExitCode != 0 {
		what += fmt.Sprintf(" with exit code %d", e.ExitCode)
	} else if e.Cause != nil {
		what += ": " + e.Cause.Error()
	}
	if len(e.Tail) == 0 {
		return Explanation{codeBuildFailed, what + ". Nothing was pushed.", "Look at the build's output above.", nil}
	}
	return Explanation{codeBuildFailed, what + ". Nothing was pushed.", "Look at its last output:", e.Tail}
}

func explainPush(e *docker.PushError) Explanation {
	what := fmt.Sprintf("%s could not be pushed: %s.", e.Name, strings.TrimSuffix(e.Text, "."))
	switch e.Reason {
	case docker.ReasonUnauthorized, docker.ReasonDenied, docker.ReasonNotFound:
		return Explanation{codePushRefused, what, "Give the service connection's identity the role AcrPush (or the registry's right to push), and check locks and quota of the registry.", nil}
	case docker.ReasonTLS:
		return Explanation{codePushTLS, what, "Install the registry's CA for the Engine as /etc/docker/certs.d/<registry>/ca.crt; caFile counts for this task, not for the Engine.", nil}
	case docker.ReasonNone, docker.ReasonTemporary, docker.ReasonOther:
	}
	return Explanation{codePushFailed, fmt.Sprintf("%s It was tried %d times.", what, e.Attempts), "Run the step again; if it lasts, look at the registry's status and the Engine's network.", nil}
}
