// A training session over the artifacts: one line of tokens a step.

import * as ort from './node_modules/onnxruntime-web/dist/ort.training.wasm.mjs';

export class Trainer {
  #session;

  constructor(session) {
    this.#session = session;
  }

  /** Loads the artifacts; read gives the bytes of an address. */
  static async create(read) {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = {
      mjs: new URL('wasm-module.mjs', import.meta.url),
      wasm: new URL('node_modules/onnxruntime-web/dist/ort-training-wasm-simd-threaded.wasm', import.meta.url),
    };
    const [checkpointState, trainModel, evalModel, optimizerModel] = await Promise.all(
      ['checkpoint', 'training_model.onnx', 'eval_model.onnx', 'optimizer_model.onnx'].map((name) => read(`artifacts/${name}`)),
    );
    return new Trainer(await ort.TrainingSession.create({ checkpointState, trainModel, evalModel, optimizerModel }));
  }

  /** Forward, backward and update on one line; its loss before the update. */
  async step(tokens) {
    const results = await this.#session.runTrainStep(this.#feed(tokens, this.#session.trainingInputNames));
    await this.#session.runOptimizerStep();
    await this.#session.lazyResetGrad();
    return results[this.#session.trainingOutputNames[0]].data[0];
  }

  /** Mean loss over lines. */
  async evaluate(lines) {
    let sum = 0;
    for (const tokens of lines) {
      // The session labels results of eval steps with the training model's names: the loss is the first.
      sum += Object.values(await this.#session.runEvalStep(this.#feed(tokens, this.#session.evalInputNames)))[0].data[0];
    }
    return sum / lines.length;
  }

  /** All trained numbers, in the order of the training model's inputs. */
  async parameters() {
    return (await this.#session.getContiguousParameters(true)).data;
  }

  /** The session goes by the order of the keys. Labels are the tokens themselves: the shift happens inside. */
  #feed(tokens, names) {
    const ids = () => new ort.Tensor('int64', BigInt64Array.from(tokens, BigInt), [1, tokens.length]);
    const ones = () => new ort.Tensor('int64', new BigInt64Array(tokens.length).fill(1n), [1, tokens.length]);
    return Object.fromEntries(names.map((name) => [name, name === 'attention_mask' ? ones() : ids()]));
  }
}
