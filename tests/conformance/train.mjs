// Trains with artifacts in ONNX Runtime's training session for the web: train, optimizer, reset and eval steps.
//
//   node train.mjs ARTIFACTS BATCHES RESULT
//
// BATCHES is a JSON file {accumulation, batches: [{name: {type, dims, data}}], eval: {...}}: batches are taken in order, so
// many to each optimizer step. RESULT gets {inputs, outputs, losses, evalBefore, evalAfter, parameters}: a loss for each
// training step, eval losses before and after, and the trained parameters in the order of the training model.

import fs from 'node:fs';
import path from 'node:path';
import { describe, loadRuntime } from './runtime.mjs';

const arrays = { float32: Float32Array, int64: BigInt64Array, int32: Int32Array, bool: Uint8Array };

function feed(ort, names, batch) {
  // The runtime goes by the order of the keys.
  return Object.fromEntries(names.map((name) => {
    const { type, dims, data } = batch[name];
    return [name, new ort.Tensor(type, arrays[type].from(type === 'int64' ? data.map(BigInt) : data), dims)];
  }));
}

async function main([artifacts, batchesFile, resultFile]) {
  const ort = await loadRuntime();
  const read = (name) => new Uint8Array(fs.readFileSync(path.join(artifacts, name)));
  const work = JSON.parse(fs.readFileSync(batchesFile, 'utf8'));
  const session = await ort.TrainingSession.create({
    checkpointState: read('checkpoint'),
    trainModel: read('training_model.onnx'),
    evalModel: read('eval_model.onnx'),
    optimizerModel: read('optimizer_model.onnx'),
  });
  // Results of an eval step bear the training model's names: the loss is the first.
  const evaluate = async () => Object.values(await session.runEvalStep(feed(ort, session.evalInputNames, work.eval)))[0].data[0];

  const evalBefore = await evaluate();
  const losses = [];
  for (const [i, batch] of work.batches.entries()) {
    const results = await session.runTrainStep(feed(ort, session.trainingInputNames, batch));
    losses.push(results[session.trainingOutputNames[0]].data[0]);
    if ((i + 1) % work.accumulation === 0) {
      await session.runOptimizerStep();
      await session.lazyResetGrad();
    }
  }
  const evalAfter = await evaluate();
  const parameters = await session.getContiguousParameters(true);
  fs.writeFileSync(resultFile, JSON.stringify({
    inputs: session.trainingInputNames,
    outputs: session.evalOutputNames,
    losses,
    evalBefore,
    evalAfter,
    parameters: Array.from(parameters.data),
  }));
  await session.release();
}

main(process.argv.slice(2)).catch((error) => {
  console.error(describe(error));
  process.exitCode = 1;
});
