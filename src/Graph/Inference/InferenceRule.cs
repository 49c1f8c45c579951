namespace OrtQLoRA.Graph.Inference;

/// <summary>Sets the types of a call's outputs.</summary>
internal delegate void InferenceRule(OperatorCall call);

/// <summary>Computes the content of one output from the contents and shapes of the inputs; null if it does not follow.</summary>
internal delegate SymbolicTensor? ContentRule(OperatorCall call, int output);
