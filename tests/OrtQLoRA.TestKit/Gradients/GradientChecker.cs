using System.Globalization;
using Microsoft.VisualStudio.TestTools.UnitTesting;
using OrtQLoRA.Graph.Evaluation;
using OrtQLoRA.Graph.Gradients;
using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.TestKit.Gradients;

/// <summary>
/// Checks gradients against central differences along one random direction, in float64 with the reference evaluator:
/// <c>(L(x + h d) - L(x - h d)) / 2h</c> against the inner product of gradient and direction. The loss is a random
/// weighting of all floating-point outputs, so that every element of the Jacobian takes part.
/// </summary>
public static class GradientChecker
{
    private const double Step = 1e-5;

    /// <summary>Checks a model whose graph outputs are given.</summary>
    /// <param name="model">The forward model; it is extended by loss and gradients.</param>
    /// <param name="feeds">Values of all graph inputs and of any initializers to differentiate by.</param>
    /// <param name="withRespectTo">Names of the values to differentiate by.</param>
    /// <param name="seed">Seed of weighting and direction.</param>
    /// <param name="tolerance">Allowed difference, relative to the larger inner product, but at least to 1.</param>
    /// <param name="unusedOutputs">Graph outputs that the loss does not use.</param>
    /// <returns>The gradients by the name of the value.</returns>
    public static IReadOnlyDictionary<string, ReferenceTensor> Check(
        OnnxModel model,
        IReadOnlyDictionary<string, ReferenceTensor> feeds,
        IReadOnlyCollection<string> withRespectTo,
        int seed,
        double tolerance = 1e-7,
        IReadOnlyCollection<string>? unusedOutputs = null)
    {
        Random random = new(seed);
        AttachWeightedSum(model, feeds, random, unusedOutputs ?? []);
        Value loss = model.Graph.GetValue(LossName);
        IReadOnlyDictionary<Value, Value> gradients = GradientBuilder.Build(model, loss, null, [.. withRespectTo.Select(model.Graph.GetValue)]);

        ReferenceEvaluator evaluator = new(model);
        Dictionary<string, string> gradientNames = gradients.ToDictionary(g => g.Key.Name, g => g.Value.Name);
        IReadOnlyDictionary<string, ReferenceTensor> results = evaluator.Run(feeds, gradientNames.Values);

        Dictionary<string, double[]> direction = withRespectTo.ToDictionary(
            n => n, n => feeds[n].Floats.Select(_ => (2 * random.NextDouble()) - 1).ToArray());
        double inner = 0;
        foreach (string name in withRespectTo)
        {
            ReferenceTensor gradient = results[gradientNames[name]];
            Assert.AreEqual(Dims(feeds[name]), Dims(gradient), $"shape of the gradient of '{name}'");
            Assert.AreEqual(feeds[name].ElementType, gradient.ElementType, $"type of the gradient of '{name}'");
            inner += gradient.Floats.Zip(direction[name]).Sum(p => p.First * p.Second);
        }

        double difference = (LossAt(Step) - LossAt(-Step)) / (2 * Step);
        double allowed = tolerance * Math.Max(1, Math.Max(Math.Abs(inner), Math.Abs(difference)));
        Assert.IsTrue(
            Math.Abs(inner - difference) <= allowed,
            string.Create(CultureInfo.InvariantCulture, $"gradient . direction = {inner:R}, central difference = {difference:R}, allowed difference {allowed:E1} (seed {seed})"));
        return gradientNames.ToDictionary(g => g.Key, g => results[g.Value]);

        double LossAt(double step)
        {
            Dictionary<string, ReferenceTensor> moved = new(feeds);
            foreach ((string name, double[] d) in direction)
            {
                moved[name] = ReferenceTensor.OfFloats(feeds[name].ElementType, feeds[name].Dims, [.. feeds[name].Floats.Zip(d, (x, v) => x + (step * v))]);
            }

            return evaluator.Run(moved, [LossName])[LossName].ToScalar();
        }
    }

    /// <summary>Name of the value that <see cref="AttachWeightedSum"/> makes.</summary>
    public const string LossName = "weighted_sum";

    /// <summary>Appends the sum of all floating-point outputs, each element times a random constant.</summary>
    public static void AttachWeightedSum(
        OnnxModel model, IReadOnlyDictionary<string, ReferenceTensor> feeds, Random random, IReadOnlyCollection<string> unusedOutputs)
    {
        IReadOnlyDictionary<string, ReferenceTensor> outputs = new ReferenceEvaluator(model).Run(feeds);
        GraphBuilder b = new(model.Graph, model.Opset) { Scope = "loss/" };
        Value? loss = null;
        foreach (Value output in model.Graph.Outputs.Where(o => o.ElementType.IsFloatingPoint() && !unusedOutputs.Contains(o.Name)).ToArray())
        {
            ReferenceTensor value = outputs[output.Name];
            double[] weights = [.. Enumerable.Range(0, value.Count).Select(_ => (2 * random.NextDouble()) - 1)];
            Value weighting = model.Graph.AddInitializer($"weighting_of_{output.Name}", ReferenceTensor.OfFloats(value.ElementType, value.Dims, weights).ToTensor());
            Value term = b.Op("ReduceSum", [b.Mul(output, weighting)], ("keepdims", 0));
            loss = loss is null ? term : b.Add(loss, term);
        }

        Assert.IsNotNull(loss, "the model has no floating-point output");
        loss.Name = LossName;
        loss.Type = new OnnxType.Tensor(loss.ElementType, Shape.Scalar);
    }

    private static string Dims(ReferenceTensor tensor) => "[" + string.Join(", ", tensor.Dims) + "]";
}
