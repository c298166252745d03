package task

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"contenttrust/internal/trust"
)

// trustRules explain what the trust data and their server say. In a [trust.ConflictError] or a [trust.PublishError] there
// is another error, and the outer one is what the reader must know.
func trustRules() []rule {
	return slices.Concat([]rule{
		on(func(e *trust.ConflictError) Explanation {
			return Explanation{codeConflict, fmt.Sprintf("Others signed in this repository at the same time, and were first at each of %d tries (%v).", e.Attempts, e.Err),
				"Run the step again; let fewer jobs sign one repository at once.", nil}
		}),
		on(explainNotInitialised),
		on(explainDenied),
		on(func(e *trust.ExpiredError) Explanation {
			return Explanation{codeTrustExpired, fmt.Sprintf("The %s metadata of the repository expired on %s; nobody can sign or verify until it is renewed.", e.Role, e.At.Format(time.DateOnly)),
				expiredRemedy(e.Role), nil}
		}),
		on(explainPin),
		on(func(e *trust.PinRequiredError) Explanation {
			return Explanation{codePin, "requirePin is true, and no root key is pinned for " + e.GUN + ".",
				"Ask the administrator whether this is the root key, then pin it:", pinLines(e.Got)}
		}),
		on(explainNotAdmitted),
		on(func(e *trust.NotReleasedError) Explanation {
			return Explanation{codeNotReleased, fmt.Sprintf("The key %s may sign as %s, but not for targets/releases, which is all that docker reads.", e.KeyID, strings.Join(signers(e.Roles), ", ")),
				"Have the administrator add it to targets/releases too, as `docker trust signer add` does.", nil}
		}),
		on(func(e *trust.PathRestrictedError) Explanation {
			return Explanation{codePathRestricted, fmt.Sprintf("The delegation %s does not admit the tag %s; it admits tags that begin with %s.", e.Role, e.Tag, strings.Join(e.Paths, ", ")),
				"Use such a tag, or have the administrator widen the delegation's paths.", nil}
		}),
		on(func(e *trust.NotThisSignerError) Explanation {
			if len(e.Want) == 0 {
				return Explanation{codeOtherSigner, fmt.Sprintf("The repository has no signer %s; it has %s.", e.Signer, orNone(e.Signers)), "Correct the input signer.", nil}
			}
			return Explanation{codeOtherSigner, fmt.Sprintf("The key %s is not that of the signer %s, whose key is %s.", e.KeyID, e.Signer, strings.Join(e.Want, ", ")),
				"Upload that signer's key, or correct the input signer.", nil}
		}),
		on(func(e *trust.RootExpiringError) Explanation {
			return Explanation{codeRootExpiring, fmt.Sprintf("The repository's root expires on %s. Six months before, every publish has to renew it, which takes the root key.", e.At.Format(time.DateOnly)),
				"The holder of the root key publishes the repository once, for example with `notary witness GUN targets --publish`.", nil}
		}),
		on(func(e *trust.BrokenDelegationError) Explanation {
			return Explanation{codeBroken, fmt.Sprintf("%s, with %d tags, is not signed by a key that may sign it now; the signer who signed last was removed.", e.Role, e.Tags),
				"The administrator heals it: `notary witness GUN " + e.Role + " --publish`, with a key of that role.", nil}
		}),
		on(func(e *trust.ThresholdError) Explanation {
			return Explanation{codeThreshold, fmt.Sprintf("%s wants %d signatures at once.", e.Role, e.Threshold), "Have the administrator set the threshold to 1; docker knows no other.", nil}
		}),
	}, publishRules())
}

// publishRules explain what the trust server makes of a signature, and what it says when it cannot do its part.
func publishRules() []rule {
	return []rule{
		on(func(e *trust.SnapshotKeyError) Explanation {
			return Explanation{codeSnapshotKey, "The trust server does not hold the snapshot key of " + e.GUN + ", so nobody but its owner can publish.",
				"The owner hands it to the server, once:", []string{"notary key rotate " + e.GUN + " snapshot -r"}}
		}),
		on(func(e *trust.RejectedError) Explanation {
			return Explanation{codePublishRejected, fmt.Sprintf("The trust server rejected the signature: %v.", e), "Run the step again; if it lasts, give the text to the administrator of the trust server.", nil}
		}),
		on(func(e *trust.ServerError) Explanation {
			return Explanation{codeTrustServer, fmt.Sprintf("The trust server failed: %v.", e), "Run the step again later; if it lasts, look at the registry's status.", nil}
		}),
		on(func(e *trust.VersionError) Explanation {
			return Explanation{codeTrustBad, fmt.Sprintf("%s is at version %d, the end of what Notary counts to: somebody wants to lock the repository.", e.Role, e.Version), "Do not sign; ask the administrator of the trust server.", nil}
		}),
		on(func(e *trust.BadMetadataError) Explanation {
			return Explanation{codeTrustBad, fmt.Sprintf("The trust data cannot be believed: %s: %s.", e.Role, e.Reason), "Do not sign and do not deploy from this repository; show the text to the administrator of the trust server.", nil}
		}),
		on(func(e *trust.ProofError) Explanation {
			return Explanation{codeProof, fmt.Sprintf("The signature could not be proved: %v.", e), "Treat the tags as unsigned, and run the step again.", nil}
		}),
		onTrustUnreachable,
		on(func(e *trust.PublishError) Explanation {
			return Explanation{codePublishRejected, fmt.Sprintf("The signature could not be made: %v.", e.Err), "Run the step again with the variable system.debug set to true, and report the log.", nil}
		}),
		on(func(e *trust.OptionError) Explanation {
			return Explanation{codeInputs, fmt.Sprintf("The %s %q cannot be used: %s.", e.Name, e.Value, e.Problem), "Correct the input.", nil}
		}),
	}
}

// onTrustUnreachable leaves to the registry's rules what the registry's own transport has found out: a refused
// credential or an unknown CA has a better remedy than a server that is down.
func onTrustUnreachable(err error) (Explanation, bool) {
	for _, rule := range registryRules() {
		if e, ok := rule(err); ok && e.Code != codeRegUnreachable && e.Code != codeRegServer {
			return e, true
		}
	}
	return on(func(e *trust.UnreachableError) Explanation {
		return Explanation{codeTrustDown, fmt.Sprintf("The trust server %s does not answer (%v).", e.Server, e.Err),
			"Run the step again later; if it lasts, check the input trustServer, and the agent's network, proxy and firewall.", nil}
	})(err)
}

func explainNotInitialised(e *trust.NotInitialisedError) Explanation {
	return Explanation{codeNotInitialised, "The repository " + e.GUN + " has no trust data on " + e.Server + ": nobody has initialised it.",
		"An administrator does it once, on a safe machine with docker CLI 28 (the root key that this makes must be kept). The task never does it, because a root key made on an agent would be lost:",
		[]string{
			"docker login " + strings.SplitN(e.GUN, "/", 2)[0],
			"docker trust key generate ci          # the signer's key pair; ci.pub is written here",
			"docker trust signer add --key ci.pub ci " + e.GUN,
			"# keep ~/.docker/trust/private safe, and upload the signer's private key as a secure file",
		}}
}

func explainDenied(e *trust.DeniedError) Explanation {
	if e.Op == trust.OpRead {
		return Explanation{codeSignDenied, fmt.Sprintf("The trust server does not let the service connection's identity read the repository's trust data (%v).", e),
			"Give it the role AcrPull and, to sign, AcrPush and AcrImageSigner.", nil}
	}
	return Explanation{codeSignDenied, fmt.Sprintf("The trust server does not let the service connection's identity sign (status %d).", e.Status),
		"Give it the role AcrImageSigner beside AcrPush, and wait some minutes. The registry's admin user, classic administrators and repository-scoped tokens can never sign.", nil}
}

func expiredRemedy(role string) string {
	switch role {
	case "root":
		return "The holder of the root key must renew it."
	case "targets":
		return "The holder of the repository key must renew it; docker and notary cannot, once it has expired (a later version of this tool will)."
	}
	return "Its key is with the trust server, which should have renewed it: ask the server's administrator, and check the agent's clock."
}

func explainPin(e *trust.PinMismatchError) Explanation {
	if len(e.Want) == 0 {
		return Explanation{codePin, "rootKeys pins root keys, but none for " + e.GUN + ".", "Ask the administrator whether this is its root key, then add it:", pinLines(e.Got)}
	}
	return Explanation{codePin, fmt.Sprintf("The root key of %s is not the pinned one. Pinned: %s. Nothing was signed.", e.GUN, strings.Join(e.Want, ", ")),
		"Ask the administrator whether the root key was rotated. If it was not, somebody is in the server's place. The server shows:", pinLines(e.Got)}
}

func pinLines(keys []trust.RootID) []string {
	lines := make([]string, len(keys))
	for i, key := range keys {
		lines[i] = "rootKeys: " + key.ID
	}
	return lines
}

func explainNotAdmitted(e *trust.NotAdmittedError) Explanation {
	if len(e.Delegations) == 0 {
		return Explanation{codeNotAdmitted, "The repository has no signers yet, and the key " + e.KeyID + " is not its repository key.",
			"Have the administrator add the key as a signer: `docker trust signer add --key NAME.pub NAME REPOSITORY`.", nil}
	}
	admitted := make([]string, len(e.Delegations))
	for i, d := range e.Delegations {
		admitted[i] = fmt.Sprintf("%s admits %s", d.Role, orNone(d.KeyIDs))
	}
	return Explanation{codeNotAdmitted, "No delegation of the repository admits the key " + e.KeyID + ".",
		"Upload the private key of a signer that is admitted, or have this one added (`docker trust signer add`):", admitted}
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}
