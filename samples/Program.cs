using OrtQLoRA.Samples;

Dictionary<string, Func<string, bool>> samples = new()
{
    ["instruction"] = InstructionSample.Run,
    ["classifier"] = ClassifierSample.Run,
    ["embedding"] = EmbeddingSample.Run,
};
if (args.Length is 0 or > 2 || (args[0] != "all" && !samples.ContainsKey(args[0])))
{
    Console.Error.WriteLine($"usage: samples all|{string.Join('|', samples.Keys)} [folder]");
    return 1;
}

string folder = args.Length > 1 ? args[1] : Path.Combine("runs", "samples");
// Each runs, whatever the ones before it gave.
int missed = samples.Where(s => args[0] is "all" || args[0] == s.Key).Count(s => !s.Value(Path.Combine(folder, s.Key)));
return missed == 0 ? 0 : 1;
