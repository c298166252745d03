'use strict';
// Every test lays a task folder as the agent does (plain files, no run bits), starts a phase with the real Node, and
// looks at what a person would see. The executable is a shell script, so these tests need a POSIX shell.

const { test } = require('node:test');
const assert = require('node:assert/strict');
const { spawn, spawnSync } = require('node:child_process');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');

const { TARGETS } = require('./launcher.js');

const target = TARGETS[`${process.platform}-${process.arch}`];
const SCRIPTS = ['launcher.js', 'pre.js', 'main.js', 'post.js'];

// lay makes a task folder whose executable is the given shell script, and a temporary folder of the agent.
function lay(t, script, { sums } = {}) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'launcher-test-'));
  t.after(() => fs.rmSync(home, { recursive: true, force: true }));
  const root = path.join(home, 'task');
  const temp = path.join(home, 'temp');
  fs.mkdirSync(path.join(root, 'bin', target), { recursive: true });
  fs.mkdirSync(temp);
  for (const name of SCRIPTS) fs.copyFileSync(path.join(__dirname, name), path.join(root, name));
  const file = path.join(root, 'bin', target, 'contenttrust');
  const text = `#!/bin/sh\n${script}\n`;
  if (script !== null) fs.writeFileSync(file, text, { mode: 0o644 });
  fs.writeFileSync(path.join(root, 'bin', 'sha256.json'), JSON.stringify(sums ?? {
    [`${target}/contenttrust`]: createHash('sha256').update(text).digest('hex'),
  }));
  return { home, root, temp, file, env: { PATH: process.env.PATH, AGENT_TEMPDIRECTORY: temp } };
}

// start starts a phase as the agent does: no input, and the output read by us.
function start(job, phase = 'main') {
  const node = spawn(process.execPath, [path.join(job.root, `${phase}.js`)], { env: job.env, stdio: ['ignore', 'pipe', 'pipe'] });
  return watch(node);
}

// startWith starts launch() with other circumstances than this machine has.
function startWith(job, overrides, phase = 'main') {
  const code = `require(${JSON.stringify(path.join(job.root, 'launcher.js'))}).launch(${JSON.stringify(phase)}, ${overrides})`;
  return watch(spawn(process.execPath, ['-e', code], { env: job.env, stdio: ['ignore', 'pipe', 'pipe'] }));
}

function watch(node) {
  const run = { node, out: '' };
  node.stdout.on('data', (data) => { run.out += data; });
  node.stderr.on('data', (data) => { run.out += data; });
  run.end = once(node, 'close').then(([code, signal]) => Object.assign(run, { code, signal }));
  run.says = async (words) => {
    for (let i = 0; i < 500 && !run.out.includes(words); i++) await new Promise((r) => setTimeout(r, 10));
    assert.ok(run.out.includes(words), `waited for ${JSON.stringify(words)} in ${JSON.stringify(run.out)}`);
  };
  return run;
}

// failed checks that the step fails with this code, in the agent's own words, and that the text says what to do.
function failed(run, code, words) {
  assert.match(run.out, new RegExp(`^##vso\\[task\\.logissue type=error;code=${code};\\]${code}: .*${words}`, 'm'));
  assert.match(run.out, /^##vso\[task\.complete result=Failed;\]/m);
  assert.equal(run.code, 1);
}

const endless = 'echo ready $$; while :; do sleep 0.05; done';

for (const phase of ['pre', 'main', 'post']) {
  test(`${phase}.js starts the executable with the phase ${phase} and the step's environment`, async (t) => {
    const job = lay(t, 'echo "$1 $2 $# $INPUT_TAGS"; echo seen >&2');
    job.env.INPUT_TAGS = 'one two';
    const run = await start(job, phase).end;
    assert.equal(run.out.split('\n').sort().join('|'), `|seen|task ${phase} 2 one two`);
    assert.equal(run.code, 0);
  });
}

for (const code of [0, 1, 2, 3, 130, 255]) {
  test(`exit code ${code} is passed on`, async (t) => {
    assert.equal((await start(lay(t, `exit ${code}`)).end).code, code);
  });
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  test(`${signal} to Node alone reaches the executable, whose exit code counts`, async (t) => {
    const name = signal.slice(3);
    const run = start(lay(t, `trap 'echo got ${name}; exit 42' ${name}\n${endless}`));
    await run.says('ready');
    run.node.kill(signal);
    await run.end;
    assert.match(run.out, new RegExp(`got ${name}`));
    assert.equal(run.code, 42);
    assert.doesNotMatch(run.out, /##vso/);
  });
}

test('SIGINT and then SIGTERM, as the agent cancels, are both passed on', async (t) => {
  const run = start(lay(t, `trap 'echo got INT' INT; trap 'echo got TERM; exit 7' TERM\n${endless}`));
  await run.says('ready');
  run.node.kill('SIGINT');
  await run.says('got INT');
  run.node.kill('SIGTERM');
  await run.end;
  assert.equal(run.code, 7);
});

test('a signal in the moment of the start reaches the executable, too', async (t) => {
  const job = lay(t, null);
  // The signal is sent from within launch(): after the executable has been checked and before it has been started.
  const text = `#!/bin/sh\ntrap 'exit 42' INT\n${endless}\n`;
  fs.writeFileSync(job.file, text);
  fs.writeFileSync(path.join(job.root, 'bin', 'sha256.json'), JSON.stringify({
    [`${target}/contenttrust`]: createHash('sha256').update(text).digest('hex'),
  }));
  const run = startWith(job, `{ fs: Object.assign(Object.create(require('node:fs')), {
    chmodSync: (...a) => { process.kill(process.pid, 'SIGINT'); require('node:fs').chmodSync(...a); } }) }`);
  await run.end;
  assert.ok([42, 130].includes(run.code), `ended with ${run.code} ${run.signal}`); // 130 when sh had not yet set its trap
});

test('an executable that dies of the signal it was sent gives 128 and the signal', async (t) => {
  const run = start(lay(t, endless));
  await run.says('ready');
  run.node.kill('SIGTERM');
  await run.end;
  assert.equal(run.code, 143);
  assert.doesNotMatch(run.out, /##vso/);
});

test('an executable that somebody else kills fails the step and says that memory may have run out', async (t) => {
  const run = await start(lay(t, 'kill -KILL $$')).end;
  assert.match(run.out, /code=CT9006;\]CT9006: .*SIGKILL.*memory/);
  assert.equal(run.code, 137);
});

test('when Node is killed the executable sees the end of its input', async (t) => {
  const job = lay(t, 'echo ready; cat >/dev/null; echo orphan > "$AGENT_TEMPDIRECTORY/eof"');
  const run = start(job);
  await run.says('ready');
  run.node.kill('SIGKILL');
  await run.end; // the executable holds our end of the pipe until it ends
  assert.equal(fs.readFileSync(path.join(job.temp, 'eof'), 'utf8'), 'orphan\n');
});

test('on Windows a signal ends the input instead of the executable', async (t) => {
  const job = lay(t, null);
  const text = '#!/bin/sh\necho ready; cat >/dev/null; echo cleaned up; exit 130\n';
  fs.mkdirSync(path.join(job.root, 'bin', 'windows-amd64'));
  fs.writeFileSync(path.join(job.root, 'bin', 'windows-amd64', 'contenttrust.exe'), text, { mode: 0o755 });
  fs.writeFileSync(path.join(job.root, 'bin', 'sha256.json'), JSON.stringify({
    'windows-amd64/contenttrust.exe': createHash('sha256').update(text).digest('hex'),
  }));
  const run = startWith(job, '{ platform: "win32", arch: "x64" }');
  await run.says('ready');
  run.node.kill('SIGINT');
  await run.end;
  assert.match(run.out, /cleaned up/);
  assert.equal(run.code, 130);
});

test('the run bit that the package lost is put back', async (t) => {
  const job = lay(t, 'echo "$0"');
  const run = await start(job).end;
  assert.equal(run.out, `${job.file}\n`);
  assert.equal(fs.statSync(job.file).mode & 0o777, 0o755);
  assert.deepEqual(fs.readdirSync(job.temp), []);
});

// readOnly is a file system whose tasks' folder refuses a change of mode, as a container's read-only mount does.
const readOnly = (code) => `{ fs: Object.assign(Object.create(require('node:fs')), {
  chmodSync: (file, mode) => {
    if (file.includes('/task/bin/')) throw Object.assign(new Error('${code}: chmod'), { code: '${code}' });
    require('node:fs').chmodSync(file, mode);
  } }) }`;

for (const code of ['EROFS', 'EPERM', 'EACCES']) {
  test(`a tasks' folder that answers ${code} leads to a private copy, which is removed afterwards`, async (t) => {
    const job = lay(t, 'echo "$0"; stat -c %a "$0" "$(dirname "$0")" 2>/dev/null || stat -f %Lp "$0" "$(dirname "$0")"; exit 5');
    const run = await startWith(job, readOnly(code)).end;
    const [file, fileMode, folderMode] = run.out.trim().split('\n');
    assert.ok(file.startsWith(path.join(job.temp, 'contenttrust-bin-')), run.out);
    assert.deepEqual([fileMode, folderMode], ['700', '700']);
    assert.equal(run.code, 5);
    assert.deepEqual(fs.readdirSync(job.temp), []);
    assert.equal(fs.statSync(job.file).mode & 0o777, 0o644);
  });
}

test('the copy is removed after a cancel, too', async (t) => {
  const job = lay(t, `trap 'exit 130' INT\n${endless}`);
  const run = startWith(job, readOnly('EROFS'));
  await run.says('ready');
  assert.equal(fs.readdirSync(job.temp).length, 1);
  run.node.kill('SIGINT');
  await run.end;
  assert.equal(run.code, 130);
  assert.deepEqual(fs.readdirSync(job.temp), []);
});

test('a really read-only mount leads to the copy', async (t) => {
  const job = lay(t, 'echo "$0"');
  // A private mount name space: nothing of it outlives the two commands. Where this machine forbids one, there is
  // nothing to prove that the tests above with the same errors have not.
  const mount = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" "$1/main.js"';
  const probe = spawnSync('unshare', ['-m', 'true']);
  if (probe.error || probe.status !== 0) return t.diagnostic('no mount name space here');
  const run = await watch(spawn('unshare', ['-m', 'sh', '-c', mount, 'sh', job.root, process.execPath],
    { env: job.env, stdio: ['ignore', 'pipe', 'pipe'] })).end;
  assert.match(run.out, /temp\/contenttrust-bin-/);
  assert.equal(run.code, 0);
  assert.deepEqual(fs.readdirSync(job.temp), []);
});

test('a full or forbidden temporary folder is said with what to do', async (t) => {
  const job = lay(t, 'exit 0');
  job.env.AGENT_TEMPDIRECTORY = path.join(job.home, 'nowhere');
  failed(await startWith(job, readOnly('EROFS')).end, 'CT9004', 'nowhere.*temporary folder needs room');
});

test('an executable with another SHA-256 is not started', async (t) => {
  const job = lay(t, 'echo hello');
  fs.appendFileSync(job.file, 'echo evil\n');
  const run = await start(job).end;
  failed(run, 'CT9003', 'SHA-256 is [0-9a-f]{64}, it should be [0-9a-f]{64}');
  assert.doesNotMatch(run.out, /^hello/m);
});

test('a changed executable is not started from the copy either, and the copy is removed', async (t) => {
  const job = lay(t, 'echo hello');
  fs.appendFileSync(job.file, 'echo evil\n');
  failed(await startWith(job, readOnly('EROFS')).end, 'CT9003', 'was not started');
  assert.deepEqual(fs.readdirSync(job.temp), []);
});

test('a missing executable is named', async (t) => {
  const job = lay(t, null);
  failed(await start(job).end, 'CT9002', `missing: ${job.file}`);
});

test('an executable that is not on the list is missing', async (t) => {
  failed(await start(lay(t, 'exit 0', { sums: {} })).end, 'CT9002', 'missing');
});

test('a missing list of sums stops everything', async (t) => {
  const job = lay(t, 'exit 0');
  fs.rmSync(path.join(job.root, 'bin', 'sha256.json'));
  failed(await start(job).end, 'CT9002', 'cannot be read');
});

test('an unknown platform is named together with the known ones', async (t) => {
  failed(await startWith(lay(t, 'exit 0'), '{ platform: "freebsd", arch: "riscv64" }').end, 'CT9001',
    'freebsd-riscv64.*linux-x64, linux-arm64, win32-x64, darwin-arm64');
});

test('an executable that the machine cannot start is said with what to do', async (t) => {
  const job = lay(t, null);
  const text = '#!/no/such/interpreter\n';
  fs.writeFileSync(job.file, text);
  fs.writeFileSync(path.join(job.root, 'bin', 'sha256.json'), JSON.stringify({
    [`${target}/contenttrust`]: createHash('sha256').update(text).digest('hex'),
  }));
  failed(await start(job).end, 'CT9005', 'could not be started');
});

test('a path with percent signs and line ends cannot break out of the command', async (t) => {
  const job = lay(t, null);
  const run = await startWith(job, '{ root: "/100%0A\\n##vso[task.setvariable variable=a]b" }').end;
  failed(run, 'CT9002', '/100%AZP250A%0A##vso');
  assert.equal(run.out.trim().split('\n').length, 2);
});
