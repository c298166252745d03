package task

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"contenttrust/internal/pipeline"
)

// taskRules explain what the run itself found.
func taskRules() []rule {
	return []rule{
		on(func(e *ProofError) Explanation {
			if moved, ok := on(explainMoved)(e.Err); ok {
				return moved
			}
			return Explanation{codeProof, "The image was pushed and signed, but reading it again did not prove it: " + strings.ReplaceAll(e.Err.Error(), "\n", "; ") + ".",
				"Treat these tags as unsigned and run the step again; if it happens again, another pipeline signs them at the same time.", nil}
		}),
		on(explainMoved),
		on(func(e *ForeignImageError) Explanation {
			return Explanation{codeForeignImage, "The registry holds " + e.Found + ", which is not the image that this run built (" + e.Built + "). Nothing was signed.",
				"Run the step again; if it happens again, look for another pipeline that pushes the same tag.", nil}
		}),
		on(func(e *WorkspaceError) Explanation { return explainDisk("could not "+e.Op, e.Path, e.Err) }),
		on(func(e *pipeline.HiddenValueError) Explanation {
			return Explanation{codeHidden, "The variable " + e.Name + " would have shown a secret of this step, so it was not set.",
				"Choose a password or passphrase that is no part of a repository's name, a tag or an address.", nil}
		}),
	}
}

func explainMoved(e *TagMovedError) Explanation {
	return Explanation{codeTagMoved, e.Image + " points at " + e.Found + " now, not at " + e.Want + ", which this run pushed.",
		"Another pipeline pushes the same tag: give each run tags of its own, such as $(Build.BuildId), then run again.", nil}
}

// explainDisk says what a full or a read-only disk means for the reader.
func explainDisk(verb, path string, err error) Explanation {
	do := "Give the agent's user the right to write there."
	for cause, remedy := range map[error]string{
		syscall.ENOSPC: "Free space on that disk.",
		syscall.EROFS:  "Give the agent a temp folder that can be written to.",
		fs.ErrNotExist: "Look for what removes it: the agent makes its temp folder at the start of each job, and it must stay until the end.",
	} {
		if errors.Is(err, cause) {
			do = remedy
		}
	}
	return Explanation{codeDisk, fmt.Sprintf("The run %s %s: %v.", verb, path, withoutPath(err)), do, nil}
}

// pipelineRules explain what came from the agent, and what did not come from Azure DevOps.
func pipelineRules() []rule {
	return []rule{
		on(explainConnection),
		on(explainSecureFile),
		on(func(e *pipeline.SettingError) Explanation {
			return Explanation{codeAgentNetwork, fmt.Sprintf("The setting %s cannot be used: %v.", e.Setting, e.Err),
				"Correct it on the agent (config.sh, or the agent's .proxy and .certificates files), or caFile in the step.", nil}
		}),
		on(func(e *pipeline.RedirectError) Explanation {
			return Explanation{codeSecureServer, fmt.Sprintf("%s sent us on to %s, where a credential does not go: %s.", e.From, e.To, e.Reason),
				"Look for a proxy that answers in the server's place.", nil}
		}),
	}
}

func explainConnection(e *pipeline.ConnectionError) Explanation {
	switch e.Kind {
	case pipeline.ConnectionNotNamed, pipeline.ConnectionAbsent:
		return Explanation{codeConnection, "The agent has handed over no service connection for containerRegistry.",
			"Check the name, and authorise the connection for this pipeline (Project settings > Service connections > Security).", nil}
	case pipeline.ConnectionMalformed:
		return Explanation{codeConnection, "What the agent says of the service connection cannot be read (" + e.Parameter + ").", "Open the connection in Project settings, and save it again.", nil}
	case pipeline.ConnectionIncomplete:
		return Explanation{codeConnection, "The service connection lacks its " + e.Parameter + ".", "Open it in Project settings, and save it again with all its fields.", nil}
	case pipeline.ConnectionSchemeNotYet:
		return Explanation{codeScheme, "The service connection authenticates by " + e.Scheme + ", which this version does not know yet.",
			"Use a Docker Registry connection with user and password, or with a service principal and its key.", nil}
	case pipeline.ConnectionRegistryNotAzure:
		return Explanation{codeNotAzure, "The service connection says that it is an Azure Container Registry, and leads to " + e.Registry + ", which is none. No credential was sent.",
			"Check the connection's login server: somebody may have edited it.", nil}
	case pipeline.ConnectionRegistryInvalid:
	}
	return Explanation{codeConnection, fmt.Sprintf("The service connection's registry %q is no host.", e.Registry), "Correct the registry's address in the connection.", nil}
}

func explainSecureFile(e *pipeline.SecureFileError) Explanation {
	said := ""
	if e.Message != "" {
		said = " Azure DevOps says: " + e.Message
	}
	switch e.Kind {
	case pipeline.SecureFileNoTicket, pipeline.SecureFileForbidden, pipeline.SecureFileUnauthorized:
		return Explanation{codeSecureNoRight, fmt.Sprintf("This pipeline may not read the secure file of delegationKey (%s%s).%s", e.Kind, status(e.Status), said),
			"Authorise the file for this pipeline: Pipelines > Library > Secure files > the file > Pipeline permissions. Its name must stand in the YAML as it is, not in a variable that is set at run time.", nil}
	case pipeline.SecureFileTicketExpired:
		return Explanation{codeSecureExpired, "The ticket for the secure file has expired." + said, "Run the whole job again: a single step that is tried again gets no new ticket.", nil}
	case pipeline.SecureFileNotFound, pipeline.SecureFileInvalid:
		return Explanation{codeSecureGone, "There is no such secure file" + status(e.Status) + "." + said, "Upload it again under Pipelines > Library > Secure files, or correct delegationKey.", nil}
	case pipeline.SecureFileNotAFile:
		return Explanation{codeSecureNoKey, "Something else than the file came back: " + e.ContentType + ".",
			"Look for a proxy or a sign-in page between the agent and Azure DevOps.", nil}
	case pipeline.SecureFileEmpty:
		return Explanation{codeSecureNoKey, "The secure file is empty.", "Upload the PEM file of the signer's private key again.", nil}
	case pipeline.SecureFileTooLarge:
		return Explanation{codeSecureNoKey, fmt.Sprintf("The secure file is larger than %d KiB, which no key is.", e.Limit>>10), "Upload the PEM file of the signer's private key alone.", nil}
	case pipeline.SecureFileRefused, pipeline.SecureFileUnreachable, pipeline.SecureFileServerError, pipeline.SecureFileCancelled:
	}
	return Explanation{codeSecureServer, fmt.Sprintf("Azure DevOps did not deliver the secure file in %d tries (%v).%s", e.Attempts, e, said),
		"Run the job again; if it lasts, look at the status page of Azure DevOps and at the agent's proxy.", nil}
}

func status(code int) string {
	if code == 0 {
		return ""
	}
	return fmt.Sprintf(", status %d", code)
}
