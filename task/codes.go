package task

// The codes of errors and warnings. They are part of the contract: people search for them, so a code never changes its
// meaning, and a retired one is not used again.
const (
	codeInputs        = "CT1001"
	codeConnection    = "CT1002"
	codeScheme        = "CT1003"
	codeNotAzure      = "CT1004"
	codeAgentNetwork  = "CT1005"
	codeSecureNoRight = "CT1101"
	codeSecureExpired = "CT1102"
	codeSecureGone    = "CT1103"
	codeSecureNoKey   = "CT1104"
	codeSecureServer  = "CT1105"

	codeKeyFormat     = "CT1201"
	codeKeyMistaken   = "CT1202"
	codeKeyPassphrase = "CT1203"
	codeKeyWeak       = "CT1204"
	codeKeyCipher     = "CT1205"

	codeEngineAbsent   = "CT2001"
	codeEngineRights   = "CT2002"
	codeEngineAddress  = "CT2003"
	codeEngineVersion  = "CT2004"
	codeNoDockerfile   = "CT2101"
	codeNoContext      = "CT2102"
	codeDockerfile     = "CT2103"
	codeBuildFailed    = "CT2104"
	codeBuildBase      = "CT2105"
	codeEngineCannot   = "CT2106"
	codePushFailed     = "CT2201"
	codePushRefused    = "CT2202"
	codePushTLS        = "CT2203"
	codeForeignImage   = "CT2204"
	codeImageGone      = "CT2205"
	codeRegUnreachable = "CT3001"
	codeRegTLS         = "CT3002"
	codeRegLogin       = "CT3003"
	codeRegDenied      = "CT3004"
	codeRegFirewall    = "CT3005"
	codeRegNotFound    = "CT3006"
	codeRegServer      = "CT3007"
	codeRegLocked      = "CT3008"
	codeRegLies        = "CT3009"
	codeRegRealm       = "CT3010"
	codeRegTags        = "CT3011"

	codeNotInitialised  = "CT4001"
	codeSignDenied      = "CT4002"
	codeTrustDown       = "CT4003"
	codeTrustServer     = "CT4004"
	codeTrustExpired    = "CT4005"
	codePin             = "CT4006"
	codeTrustBad        = "CT4007"
	codeNotAdmitted     = "CT4008"
	codeNotReleased     = "CT4009"
	codePathRestricted  = "CT4010"
	codeConflict        = "CT4011"
	codeSnapshotKey     = "CT4012"
	codeRootExpiring    = "CT4013"
	codeOtherSigner     = "CT4014"
	codeBroken          = "CT4015"
	codeThreshold       = "CT4016"
	codePublishRejected = "CT4017"

	codeProof     = "CT5001"
	codeTagMoved  = "CT5002"
	codeDisk      = "CT6001"
	codeStore     = "CT6002"
	codeHidden    = "CT6003"
	codeCancelled = "CT8001"

	codeLeftBehind         = "CT7001"
	codePassphraseUnused   = "CT7002"
	codeSeveralDockerfiles = "CT7003"
	codeExpiringSoon       = "CT7004"
	codeAgentSetting       = "CT7005"
	codeShortSecret        = "CT7006"
	codeDockerfileCheck    = "CT7007"

	codeUnexpected = "CT9000"
)

// codeGroup is a section of docs/errors.md.
type codeGroup struct {
	title   string
	entries []codeEntry
}

// codeEntry says in general what the explanation of a failure says of one run.
type codeEntry struct {
	code, what, do string
}

// catalogue is every code there is, in the order of the page. A test holds it against the constants above.
func catalogue() []codeGroup {
	return []codeGroup{
		{"Inputs, connection, secure file", inputCodes()},
		{"Delegation key", keyCodes()},
		{"Engine and build", engineCodes()},
		{"Registry", registryCodes()},
		{"Trust", trustCodes()},
		{"Proof, disk, end", endCodes()},
		{"Warnings", warningCodes()},
		{"Launcher and others", otherCodes()},
	}
}

func inputCodes() []codeEntry {
	return []codeEntry{
		{codeInputs, "An input is missing, wrong, or contradicts another", "Correct the input that the text names"},
		{codeConnection, "The service connection is not there, or lacks a part", "Authorise the connection for the pipeline; save it anew"},
		{codeScheme, "The connection authenticates in a way that this version does not know", "Use user and password, or a service principal with a key"},
		{codeNotAzure, "A connection of the kind Azure Container Registry leads to another host", "Somebody may have edited the connection: check its login server"},
		{codeAgentNetwork, "A proxy or certificate setting of the agent, or `caFile`, cannot be used", "Correct the setting that the text names"},
		{codeSecureNoRight, "The pipeline may not read the secure file", "Authorise the secure file for this pipeline (Library > Secure files > Pipeline permissions)"},
		{codeSecureExpired, "The ticket for the download has expired", "Run the job again; a step that was tried again gets no new ticket"},
		{codeSecureGone, "There is no such secure file any more", "Upload it again, or correct its name"},
		{codeSecureNoKey, "What came as the secure file is no key: a web page, nothing, or far too much", "Upload the private key's PEM file"},
		{codeSecureServer, "Azure DevOps did not deliver the secure file", "Run the job again; look at the service's status page and the agent's proxy"},
	}
}

func keyCodes() []codeEntry {
	return []codeEntry{
		{codeKeyFormat, "The file holds no private key that can be read", "Upload the PEM file that holds `PRIVATE KEY`, whole"},
		{codeKeyMistaken, "The file holds another thing: a public key, a certificate, a root key, several keys", "Upload the signer's private key alone"},
		{codeKeyPassphrase, "The passphrase is missing or wrong", "Set `delegationKeyPassphrase` from a secret variable"},
		{codeKeyWeak, "The key is of a kind or size that Notary does not accept", "Make an ECDSA P-256 key, and have it added as signer"},
		{codeKeyCipher, "The key is encrypted in a way that cannot be read", "Encrypt it again: `openssl pkcs8 -topk8 -v2 aes-256-cbc`"},
	}
}

func engineCodes() []codeEntry {
	return []codeEntry{
		{codeEngineAbsent, "No Docker Engine answers", "Start it on the agent, or use an agent that has one; container jobs need `mapDockerSocket: true`"},
		{codeEngineRights, "The agent's user may not use the Engine", "Add the user to the group docker, and restart the agent"},
		{codeEngineAddress, "`DOCKER_HOST` or its certificates cannot be used", "Correct the variable"},
		{codeEngineVersion, "`DOCKER_API_VERSION` and the Engine do not agree", "Take the variable away: the version is negotiated"},
		{codeNoDockerfile, "No Dockerfile was found", "Correct `Dockerfile`; it is looked for below the sources"},
		{codeNoContext, "The build context is not there", "Correct `buildContext`"},
		{codeDockerfile, "The Dockerfile cannot be parsed", "Correct the line that the text names"},
		{codeBuildFailed, "A step of the build failed", "Look at its last lines in the log; nothing was pushed"},
		{codeBuildBase, "A base image could not be pulled", "Check its name, and that the connection may pull it"},
		{codeEngineCannot, "This Engine cannot build what is asked for", "Follow the text"},
		{codePushFailed, "The push broke, also when tried again", "Run the step again; look at the registry's status"},
		{codePushRefused, "The registry refused the push", "Give the connection's identity the role AcrPush"},
		{codePushTLS, "The Engine does not trust the registry's certificate", "Install the CA for the Engine: `/etc/docker/certs.d/<registry>/ca.crt`"},
		{codeForeignImage, "The registry holds another image than the one that was built", "Run again; if it happens again, two pipelines push the same tag"},
		{codeImageGone, "The image vanished from the Engine between build and push", "Look for another job that prunes images on this agent"},
	}
}

func registryCodes() []codeEntry {
	return []codeEntry{
		{codeRegUnreachable, "The registry does not answer", "Check its name, the agent's network, proxy and firewall"},
		{codeRegTLS, "The registry's certificate is not trusted", "Set `caFile`, or the agent's own CA setting"},
		{codeRegLogin, "The registry does not accept the credential", "Renew the service connection's secret"},
		{codeRegDenied, "The credential lacks the right to push", "Give the identity the role AcrPush"},
		{codeRegFirewall, "The registry's firewall does not admit the agent", "Admit the address that the text names"},
		{codeRegNotFound, "There is no registry or repository of that name", "Correct the connection or `repository`"},
		{codeRegServer, "The registry failed, or wants to be asked less often", "Run the step again later"},
		{codeRegLocked, "The tag is locked", "Use another tag, or unlock it"},
		{codeRegLies, "The registry's answer does not fit its own digest", "Look for a proxy that changes traffic; do not use the image"},
		{codeRegRealm, "The registry sent us elsewhere with our credential; we did not go", "Check the registry's address; report it to its owner"},
		{codeRegTags, "Some tags could not be written", "Run the step again: the text says which tags are done"},
	}
}

func trustCodes() []codeEntry {
	return []codeEntry{
		{codeNotInitialised, "The repository has no trust data yet", "An administrator runs the commands in the log, once. The task never does: a root key made on an agent would be lost"},
		{codeSignDenied, "The trust server does not let the identity sign", "Give it the role AcrImageSigner beside AcrPush; admin users and repository-scoped tokens can never sign"},
		{codeTrustDown, "The trust server does not answer", "Run the step again later; check `trustServer`"},
		{codeTrustServer, "The trust server failed", "Run the step again later"},
		{codeTrustExpired, "Trust data has expired", "The holder of the key that the text names publishes again"},
		{codePin, "The repository's root key is not the pinned one, or none is pinned", "Ask the administrator whether the root key was changed; only then change `rootKeys`"},
		{codeTrustBad, "The trust data cannot be believed: a signature, checksum or version is wrong", "Do not sign or deploy; ask the administrator of the trust server"},
		{codeNotAdmitted, "No delegation admits the key", "Upload the key of a signer that the text lists, or have this key added"},
		{codeNotReleased, "The key may sign as a signer, but not for `targets/releases`, which is all that docker reads", "Have the signer added with `docker trust signer add`"},
		{codePathRestricted, "The delegation does not admit this tag", "Use a tag with an admitted prefix, or have the paths widened"},
		{codeConflict, "Others published first at every try", "Run the step again; let fewer jobs sign one repository at once"},
		{codeSnapshotKey, "The trust server does not hold the snapshot key, so a signer cannot publish", "The administrator runs `notary key rotate GUN snapshot -r`"},
		{codeRootExpiring, "The root expires within six months, and every publish would have to renew it", "The holder of the root key publishes once"},
		{codeOtherSigner, "The key is not that of `signer`", "Upload that signer's key, or correct `signer`"},
		{codeBroken, "The delegation is not signed by a key that may sign it now", "The administrator runs `notary witness`"},
		{codeThreshold, "A role wants more than one signature", "The administrator sets the threshold to 1: docker knows no other"},
		{codePublishRejected, "The trust server rejected the signature", "Follow the text"},
	}
}

func endCodes() []codeEntry {
	return []codeEntry{
		{codeProof, "The signature could not be proved after it was made", "Treat the tags as unsigned; run the step again"},
		{codeTagMoved, "A tag pointed at another image when the run ended", "Two pipelines push the same tag: use tags of their own"},
		{codeDisk, "A private file or folder could not be written or removed", "Free space, or give rights, under the agent's temp folder"},
		{codeStore, "The trust store cannot be used", "Follow the text"},
		{codeHidden, "An output would have shown a secret", "Choose a password that is no part of a name, tag or address"},
		{codeCancelled, "The run was cancelled when the tag had been moved", "Look at the state that the text names"},
	}
}

func warningCodes() []codeEntry {
	return []codeEntry{
		{codeLeftBehind, "A folder of an earlier run could not be removed", "Remove it by hand"},
		{codePassphraseUnused, "The key is not encrypted, and a passphrase was given", "Encrypt the key, or take the passphrase away"},
		{codeSeveralDockerfiles, "Several Dockerfiles match; the first is built", "Name one"},
		{codeExpiringSoon, "Trust data expires within 180 days", "Who must do what is in the text"},
		{codeAgentSetting, "A network setting of the agent is ignored or risky", "Correct the setting"},
		{codeShortSecret, "A secret is too short to be hidden", "Use a longer one"},
		{codeDockerfileCheck, "BuildKit found something odd in the Dockerfile", "Follow the text"},
	}
}

func otherCodes() []codeEntry {
	return []codeEntry{
		{codeUnexpected, "Something that this version does not know", "Report the log of a run with `system.debug: true`"},
		{"CT9001", "The task has no executable for this platform", "Use an agent on Linux x64 or arm64, Windows x64 or macOS arm64"},
		{"CT9002", "The task's folder is incomplete", "Install the extension anew; on a self-hosted agent remove the task's folder under `_work/_tasks`"},
		{"CT9003", "The task's executable is not the one that was packaged", "As for CT9002; ask who can write to the agent's folders"},
		{"CT9004", "The executable could not be made ready to run", "Free space, and give rights, under the agent's temp folder"},
		{"CT9005", "The executable could not be started", "Look at the system's reason in the text: a virus scanner, `noexec`, memory"},
		{"CT9006", "The executable was killed, and not by the agent", "Give the machine more memory"},
	}
}
