// Opens the page docs/samples/web-finetune in headless Chromium, presses its buttons and prints what came of it as JSON.
//
//   node browser.mjs ARTIFACTS        (with tokenizer.bin among them; CHROMIUM names the browser)
//
// Exit code 77: there is no Chromium.

import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { createServer } from '../../docs/samples/web-finetune/serve.mjs';

const noBrowser = 77;
const timeLimit = 120_000;
const here = path.dirname(fileURLToPath(import.meta.url));
const names = [process.env.CHROMIUM, 'chromium', 'chromium-browser', 'google-chrome'].filter(Boolean);
const browser = names.find((name) => spawnSync(name, ['--version']).status === 0);
if (!browser) process.exit(noBrowser);

const work = fs.mkdtempSync(path.join(os.tmpdir(), 'ortqlora-browser-'));
fs.symlinkSync(path.resolve(process.argv[2]), path.join(work, 'artifacts'));
fs.symlinkSync(path.join(here, 'node_modules'), path.join(work, 'node_modules'));
// A page of the test's own around the sample's: presses the button when it can be pressed, and reports.
fs.writeFileSync(path.join(work, 'test.html'), `<!doctype html><iframe id="page" src="/index.html"></iframe><script>
  const page = document.getElementById('page').contentWindow;
  const report = (result) => fetch('/result', { method: 'POST', body: JSON.stringify(result) });
  const wait = setInterval(() => {
    const text = page.document.getElementById('status')?.textContent ?? '';
    if (text.startsWith('This did not work')) { clearInterval(wait); report({ error: text }); }
    const button = page.document.getElementById('start');
    if (!button || button.disabled) return;
    clearInterval(wait);
    page.addEventListener('finetuned', ({ detail }) => {
      page.addEventListener('saved', (saved) => report({ ...detail, adapter: saved.detail }));
      page.document.getElementById('save').click();
    });
    button.click();
  }, 50);
</script>`);

const files = createServer([path.join(here, '../../docs/samples/web-finetune'), work]);
const [serveFile] = files.listeners('request');
files.removeAllListeners('request');
files.on('request', async (request, response) => {
  if (request.url !== '/result') return serveFile(request, response);
  let text = '';
  for await (const part of request) text += part;
  response.end();
  finish(text);
});

let chromium;
function finish(text, code = 0) {
  if (text) console.log(text);
  process.exitCode = code;
  // The group: the browser's children would go on writing to its profile.
  if (chromium) process.kill(-chromium.pid, 'SIGKILL');
  files.close();
  files.closeAllConnections();
  clearTimeout(timer);
}

function remove(tries = 50) {
  try {
    fs.rmSync(work, { recursive: true, force: true });
  } catch (error) {
    if (tries === 0) throw error;
    setTimeout(remove, 100, tries - 1);
  }
}

const timer = setTimeout(() => {
  console.error(`The page did not end within ${timeLimit / 1000} s.`);
  finish('', 1);
}, timeLimit);
files.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${files.address().port}/test.html`;
  chromium = spawn(browser, ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${path.join(work, 'profile')}`, url], { stdio: 'ignore', detached: true });
  chromium.on('exit', () => remove());
});
