// Package agenttest plays the Azure Pipelines agent: it runs the phases of a staged task as the agent does, and records
// what a person and the server would see.
//
// It is an emulator and not a mock. It reads the task's own task.json, starts the task's own scripts with Node in a
// clean environment, parses every line of their output as the agent does, obeys the commands in it, masks what the agent
// would mask, and cancels with the agent's signals and delays. What the task does with all that is the task's own.
//
// Behaviour is that of microsoft/azure-pipelines-agent at 42bde98 (August 2026), from these files, named in the comments
// where a rule comes from one: Handlers/Handler.cs and NodeHandler.cs (environment), TaskRunner.cs (inputs),
// Command.cs and CommandStringConvertor.cs (parsing), WorkerCommandManager.cs and TaskCommandExtension.cs (commands),
// TaskRestrictionsExtension.cs (restrictions), ProcessInvoker.cs (cancel).
//
// Left out: containers, the server's own processing of conditions and retries, and every command that this task has no
// use for; an unknown command is recorded in [Result.Unknown].
package agenttest
