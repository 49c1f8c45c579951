// The page: reads lines, trains the adapter on them, shows the loss and hands the trained tensors out.

import { Trainer } from './trainer.mjs';
import { readTokenizer } from './tokenizer.mjs';

const logbook = [
  'The fog came in at dawn and the lamp stayed lit until noon.',
  'A schooner passed to the north, close hauled, two reefs in her main.',
  'Cleaned the lens and trimmed the wicks. The glass stands at twenty nine.',
  'Wind from the west all night. The bell rope broke and was mended.',
];

const element = (id) => document.getElementById(id);
const status = (text) => { element('status').textContent = text; };

async function fetchBytes(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} is not there (${response.status}): write the artifacts as README.md says.`);
  return new Uint8Array(await response.arrayBuffer());
}

function plot(losses) {
  const top = Math.max(...losses);
  element('curve').setAttribute('points', losses.map((loss, i) => `${(100 * i) / Math.max(1, losses.length - 1)},${100 - (90 * loss) / top}`).join(' '));
}

function save(parameters) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([parameters]));
  link.download = 'adapter.bin';
  link.click();
  URL.revokeObjectURL(link.href);
}

async function fineTune(trainer, tokenizer) {
  const lines = element('text').value.split('\n').map((line) => line.trim()).filter(Boolean).map((line) => tokenizer.encode(line));
  const before = await trainer.evaluate(lines);
  const losses = [];
  for (let pass = 0; pass < Number(element('passes').value); pass++) {
    for (const tokens of lines) {
      losses.push(await trainer.step(tokens));
      plot(losses);
      status(`Step ${losses.length}: loss ${losses.at(-1).toFixed(4)}`);
      await new Promise(requestAnimationFrame);
    }
  }
  const after = await trainer.evaluate(lines);
  status(`${losses.length} steps: loss on these lines ${before.toFixed(4)} before, ${after.toFixed(4)} now.`);
  return { before, after, losses };
}

async function main() {
  element('text').value = logbook.join('\n');
  const trainer = await Trainer.create(fetchBytes);
  const tokenizer = readTokenizer(await fetchBytes('artifacts/tokenizer.bin'));
  status('Ready.');
  element('start').disabled = false;
  element('start').addEventListener('click', async () => {
    element('start').disabled = true;
    const result = await fineTune(trainer, tokenizer);
    element('save').disabled = element('start').disabled = false;
    window.dispatchEvent(new CustomEvent('finetuned', { detail: result }));
  });
  element('save').addEventListener('click', async () => {
    const parameters = await trainer.parameters();
    save(parameters);
    status(`${parameters.length} numbers saved.`);
    window.dispatchEvent(new CustomEvent('saved', { detail: parameters.length }));
  });
  window.dispatchEvent(new CustomEvent('ready'));
}

main().catch((error) => {
  status(`This did not work: ${error.message ?? error}`);
  window.dispatchEvent(new CustomEvent('failed', { detail: String(error.message ?? error) }));
});
