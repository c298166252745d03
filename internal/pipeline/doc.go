// Package pipeline speaks the language of the Azure Pipelines agent, both ways.
//
// The agent hands everything over in the environment, under names it derives
// from those of variables, inputs, service connections and secure files
// ([VariableName]). It is read here and nowhere else, from an injected
// [Environment]: [ReadAgent], [ReadConnection], [ReadSecureFile],
// [TaskVariable] and, for the inputs of the task, [Environment.Decode].
//
// The agent listens on standard output: a line that has ##vso[ anywhere in it
// is a command. [Log] is the only thing that writes there, one line at a time,
// and every line is free of secrets and of commands that are not ours.
// [Command.String] is the one place that escapes, [Log.Foreign] the one door
// for text of others. The agent records at most ten errors and ten warnings of
// a step; the Log does not count, further ones are still lines in the log.
//
// Over HTTP the agent has settings of its own (proxy, bypass list, certificate
// authority, client certificate), which it does not export in the form that
// other programs know. [Agent.HTTPClient] gives a client that honours them, and
// [FetchSecureFile] uses one to download a secure file into memory.
//
// What is copied and from where: names of variables and their rules from the
// agent (github.com/microsoft/azure-pipelines-agent, Agent.Worker and
// Agent.Sdk), logging commands from its Command.cs and CommandStringConvertor.cs,
// the secure file request from azure-pipelines-tasks-securefiles-common, service
// connections from azure-pipelines-tasks-docker-common.
package pipeline
