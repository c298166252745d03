package task

import (
	"fmt"
	"strings"

	"contenttrust/internal/registry"
)

// registryRules explain what the registry says. They come after the rules of trust, whose errors can hold a registry's.
func registryRules() []rule {
	return []rule{
		on(explainTags),
		on(explainAccess),
		on(explainUnreachable),
		on(func(e *registry.LockedError) Explanation {
			return Explanation{codeRegLocked, fmt.Sprintf("The tag %s:%s is locked in the registry%s.", e.Repository, e.Tag, said(e.Detail)),
				"Use a new tag, or unlock it (`az acr repository update --write-enabled true`).", nil}
		}),
		on(func(e *registry.UnsupportedError) Explanation {
			return Explanation{codeRegServer, fmt.Sprintf("The registry cannot remove the tag %s:%s alone%s.", e.Repository, e.Reference, said(e.Detail)), "Delete the tag by hand.", nil}
		}),
		on(func(e *registry.DigestMismatch) Explanation {
			return Explanation{codeRegLies, fmt.Sprintf("For %s:%s the registry said %s, and its bytes are %s. Nothing was signed.", e.Repository, e.Reference, e.Want, e.Got),
				"Look for a proxy or cache that changes traffic, and do not use this image.", nil}
		}),
		on(func(e *registry.ManifestError) Explanation {
			return Explanation{codeRegLies, fmt.Sprintf("The manifest of %s:%s cannot be signed: it is %s.", e.Repository, e.Reference, e.Reason), "Push the image anew; only docker and OCI manifests can be signed.", nil}
		}),
		on(func(e *registry.RealmError) Explanation {
			return Explanation{codeRegRealm, fmt.Sprintf("The registry %s wants its credential sent to %s (%s). It was not sent.", e.Host, e.Realm, e.Reason),
				"Check the registry's address in the service connection; a registry's token server is on its own host.", nil}
		}),
		on(func(e *registry.RedirectError) Explanation {
			return Explanation{codeRegRealm, fmt.Sprintf("%s sent us on to %s, which was not followed: it %s.", e.From, e.To, e.Reason), "Check the registry's address in the service connection.", nil}
		}),
		on(func(e *registry.ChallengeError) Explanation {
			return Explanation{codeRegNotFound, fmt.Sprintf("%s does not answer as a registry does: %s.", e.Host, e.Reason), "Check the registry's address in the service connection, and the agent's proxy.", nil}
		}),
		on(func(e *registry.ReferenceError) Explanation {
			return Explanation{codeInputs, fmt.Sprintf("The %s %q is no name that a registry accepts: it %s.", e.What, e.Input, e.Kind), "Correct repository, tags or the connection's registry.", nil}
		}),
		on(func(e *registry.OptionError) Explanation {
			return Explanation{codeInputs, fmt.Sprintf("%s cannot be used: %s.", e.Option, e.Reason), "Correct trustServer, or the connection's registry.", nil}
		}),
	}
}

func said(detail string) string {
	if detail == "" {
		return ""
	}
	return " (it says: " + strings.TrimSuffix(detail, ".") + ")"
}

func explainTags(e *registry.TagsError) Explanation {
	failed := make([]string, len(e.Failed))
	for i, f := range e.Failed {
		failed[i] = f.Tag
	}
	first := explainOne(e.Failed[0].Err)
	done := "none"
	if len(e.Done) > 0 {
		done = strings.Join(e.Done, ", ")
	}
	return Explanation{codeRegTags, fmt.Sprintf("Not every tag could be written in %s: %s failed, done: %s. What is signed stays signed. %s",
		e.Repository, strings.Join(failed, ", "), done, first.What), first.Do, nil}
}

func explainAccess(e *registry.AccessError) Explanation {
	repository := e.Repository
	if repository == "" {
		repository = e.Host
	}
	switch e.Kind {
	case registry.NoCredential, registry.WrongCredential:
		return Explanation{codeRegLogin, fmt.Sprintf("%s does not accept the service connection's credential (status %d)%s.", e.Host, e.Status, said(e.Detail)),
			"Renew its secret: a service principal's key expires, and a password may have been changed.", nil}
	case registry.Denied:
		return Explanation{codeRegDenied, fmt.Sprintf("The service connection's identity may not push to %s (status %d)%s.", repository, e.Status, said(e.Detail)),
			"Give it the role AcrPush on the registry (or the registry's right to push). A new role takes some minutes to count.", nil}
	case registry.Firewall:
		address := "this agent's address"
		if e.ClientIP != "" {
			address = "the agent's address " + e.ClientIP
		}
		return Explanation{codeRegFirewall, fmt.Sprintf("The firewall of %s does not admit %s.", e.Host, address), "Admit it in the registry's network settings, or use an agent inside its network.", nil}
	case registry.NotFound:
		if e.Repository == "" {
			return Explanation{codeRegNotFound, fmt.Sprintf("There is no registry at %s%s.", e.Host, said(e.Detail)), "Correct the registry's address in the service connection.", nil}
		}
		return Explanation{codeRegNotFound, fmt.Sprintf("%s does not know %s%s.", e.Host, repository, said(e.Detail)), "Check repository and the connection's registry.", nil}
	case registry.Busy, registry.Broken, registry.Refused:
	}
	return Explanation{codeRegServer, fmt.Sprintf("%s could not %s: status %d%s.", e.Host, e.Op, e.Status, said(e.Detail)), "Run the step again later; if it lasts, look at the registry's status.", nil}
}

func explainUnreachable(e *registry.UnreachableError) Explanation {
	what := fmt.Sprintf("%s cannot be reached: %s (%v).", e.Host, e.Kind, e.Err)
	switch e.Kind {
	case registry.UnknownCA, registry.BadCertificate, registry.WrongHostName:
		return Explanation{codeRegTLS, what, "Give its CA as caFile, or in the agent's own setting (--sslcacert); for a wrong host name correct the connection.", nil}
	case registry.NotTLS:
		return Explanation{codeRegTLS, what, "The registry must speak https: correct its address or port.", nil}
	case registry.ProxyFailed:
		return Explanation{codeRegUnreachable, what, "Correct the agent's proxy, or add the registry to its bypass list.", nil}
	case registry.UnknownHost, registry.NotListening, registry.TimedOut, registry.ConnectionLost, registry.UnreachableElse:
	}
	return Explanation{codeRegUnreachable, what, "Check the registry's name in the service connection, and the agent's network, proxy and firewall.", nil}
}
