'use strict';
// The agent can start Node scripts and nothing else on Linux and macOS, so this script starts the executable that does
// the work, and stays out of its way: it finds the one for this platform, makes sure that it is ours, makes it runnable,
// passes signals down and the exit code up. It needs nothing but Node itself, 20 or newer.

const { spawn } = require('node:child_process');
const { createHash } = require('node:crypto');
const nodeFS = require('node:fs');
const os = require('node:os');
const path = require('node:path');

// What Node calls a platform, and the folder that the packaging program built for it.
const TARGETS = {
  'linux-x64': 'linux-amd64',
  'linux-arm64': 'linux-arm64',
  'win32-x64': 'windows-amd64',
  'darwin-arm64': 'darwin-arm64',
};

// The errors with which a file system says "not here", as opposed to "something is broken".
const READ_ONLY = new Set(['EROFS', 'EPERM', 'EACCES']);

const REINSTALL =
  'On a self-hosted agent, remove the folder of the task under _work/_tasks, so that the agent downloads it again; ' +
  'if that does not help, reinstall the extension in the organization.';

// LaunchError is a failure of the launcher itself: what happened and what to do, with a code that stays the same.
class LaunchError extends Error {
  constructor(code, message) {
    super(message);
    this.code = code;
  }
}

// reason is what a failed call says, without the stack.
const reason = (err) => err.message || String(err);

// locate gives the executable for this platform and the SHA-256 that the packaging program wrote down for it.
function locate(host) {
  const { platform, arch, fs, root } = host;
  const target = TARGETS[`${platform}-${arch}`];
  if (!target) {
    throw new LaunchError('CT9001',
      `This task does not run on ${platform}-${arch}. It has executables for ${Object.keys(TARGETS).join(', ')}: ` +
      'let the job run on an agent of one of these platforms.');
  }
  const name = `${target}/contenttrust${platform === 'win32' ? '.exe' : ''}`;
  let sums;
  try {
    sums = JSON.parse(fs.readFileSync(path.join(root, 'bin', 'sha256.json'), 'utf8'));
  } catch (err) {
    throw new LaunchError('CT9002', `The list of the task's executables cannot be read (${reason(err)}). ${REINSTALL}`);
  }
  const file = path.join(root, 'bin', ...name.split('/'));
  if (!sums[name] || !fs.existsSync(file)) {
    throw new LaunchError('CT9002', `The task's executable for ${platform}-${arch} is missing: ${file}. ${REINSTALL}`);
  }
  return { file, sum: sums[name] };
}

// makeRunnable gives a path that may be executed, and the private folder to remove afterwards where it had to make one.
// Extensions lose the run bit: their zip has no modes, and so the agent unpacks the executable as a plain file.
function makeRunnable(host, file) {
  const { platform, fs, env } = host;
  if (platform === 'win32' || (fs.statSync(file).mode & 0o111) === 0o111) {
    return { file };
  }
  try {
    fs.chmodSync(file, 0o755);
    return { file };
  } catch (err) {
    if (!READ_ONLY.has(err.code)) throw err;
  }
  // Container jobs may mount the tasks' folder read-only, or own it by another user. The folder made here is readable
  // by this user alone (mkdtemp gives 0700), so nobody can change the copy between the check of its sum and its start.
  const folder = fs.mkdtempSync(path.join(env.AGENT_TEMPDIRECTORY || os.tmpdir(), 'contenttrust-bin-'));
  try {
    const copy = path.join(folder, path.basename(file));
    fs.copyFileSync(file, copy, fs.constants.COPYFILE_EXCL);
    fs.chmodSync(copy, 0o700);
    return { file: copy, folder };
  } catch (err) {
    fs.rmSync(folder, { recursive: true, force: true });
    throw err;
  }
}

// check refuses every executable but the one that was packaged. It looks at the very file that is started next.
function check(host, file, sum) {
  const found = createHash('sha256').update(host.fs.readFileSync(file)).digest('hex');
  if (found !== sum) {
    throw new LaunchError('CT9003',
      `The task's executable ${file} is not the one that was published and was not started: its SHA-256 is ${found}, ` +
      `it should be ${sum}. The download was damaged or somebody changed the file. ${REINSTALL}`);
  }
}

// prepare gives the checked, runnable executable.
function prepare(host) {
  const { file, sum } = locate(host);
  let runnable;
  try {
    runnable = makeRunnable(host, file);
  } catch (err) {
    throw new LaunchError('CT9004',
      `The task's executable could not be made runnable (${reason(err)}). The agent's temporary folder needs room for a ` +
      'copy of it (about 20 MB), and the agent\'s user must be allowed to write there.');
  }
  try {
    check(host, runnable.file, sum);
  } catch (err) {
    remove(host, runnable.folder);
    throw err;
  }
  return runnable;
}

function remove(host, folder) {
  if (!folder) return;
  try {
    host.fs.rmSync(folder, { recursive: true, force: true });
  } catch {
    // The agent empties its temporary folder itself when the job ends; a left-over copy fails no step.
  }
}

// escape writes text so that the agent reads it back as it was. The percent sign goes first, or it would escape itself.
function escape(text) {
  return text.replace(/%/g, '%AZP25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

// fail tells the agent, which shows the error with its code on the page of the run, and fails the step.
function fail(host, err) {
  const code = err.code && /^CT\d{4}$/.test(err.code) ? err.code : 'CT9005';
  host.write(`##vso[task.logissue type=error;code=${code};]${escape(`${code}: ${reason(err)}`)}\n` +
    `##vso[task.complete result=Failed;]${escape(`${code}: the task could not be started`)}\n`);
  process.exitCode = 1;
}

// relay passes on what the agent sends to this process alone. It must listen for each signal, and before the executable
// runs: Node would end at once, and leave the executable behind with nobody to stop it. A signal that comes while
// launch() is still busy is handled after it, when there is a child.
function relay(host, run) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'].concat(host.platform === 'win32' ? ['SIGBREAK'] : [])) {
    process.on(signal, () => {
      run.asked = true;
      // On Windows a kill ends the executable before it could clean up. It hears Ctrl+C and Ctrl+Break from the console
      // it shares with us, and the end of its input says the same.
      if (host.platform === 'win32') run.child?.stdin.end();
      else run.child?.kill(signal);
    });
  }
}

// launch runs one phase ("pre", "main" or "post") and leaves its exit code as this process's own. The second argument
// is for tests: the platform, the file system, the folder of the task.
function launch(phase, overrides) {
  const host = {
    platform: process.platform, arch: process.arch, env: process.env, fs: nodeFS, root: __dirname,
    write: (text) => process.stdout.write(text), ...overrides,
  };
  const run = { asked: false, child: undefined };
  relay(host, run);
  let runnable = {};
  try {
    runnable = prepare(host);
    // Nobody ever writes to the executable's input. It ends when this process does, however it ends, and that is how the
    // executable learns that it is alone: no signal reaches it when the agent kills Node.
    run.child = spawn(runnable.file, ['task', phase], { stdio: ['pipe', 'inherit', 'inherit'], windowsHide: true });
  } catch (err) {
    remove(host, runnable.folder);
    fail(host, err);
    return;
  }
  run.child.stdin.on('error', () => {});
  run.child.on('error', (err) => {
    remove(host, runnable.folder);
    fail(host, new LaunchError('CT9005',
      `The task's executable could not be started (${reason(err)}). A virus scanner, a folder mounted with noexec, or a ` +
      'lack of memory may forbid it on this agent.'));
  });
  run.child.on('exit', (code, signal) => {
    remove(host, runnable.folder);
    process.exitCode = signal ? 128 + os.constants.signals[signal] : code;
    if (signal && !run.asked) {
      fail(host, new LaunchError('CT9006',
        `The task's executable was ended by ${signal}, and not by the agent. With SIGKILL the machine has most likely ` +
        'run out of memory.'));
      process.exitCode = 128 + os.constants.signals[signal];
    }
  });
}

module.exports = { launch, TARGETS };
