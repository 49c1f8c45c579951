namespace OrtQLoRA.Trainer.Engines;

/// <summary>
/// The number of threads that sessions get unless somebody says otherwise: one for each physical core. ONNX Runtime would
/// count them itself, but it asks the processor, which in a virtual machine may know of one core where there are more.
/// </summary>
internal static class PhysicalCores
{
    private static readonly Lazy<int> OfThisMachine = new(() => CountIn("/sys/devices/system/cpu"));

    /// <summary>Threads for a session: <paramref name="wanted"/>, or where that is 0 one for each core; 0 leaves it to ONNX Runtime.</summary>
    internal static int ThreadsFor(int wanted) => wanted > 0 ? wanted : OfThisMachine.Value;

    /// <summary>
    /// Cores that Linux lists in a folder, at most as many as this process may use. A core is a set of processors that share it.
    /// 0 where there is no such list.
    /// </summary>
    internal static int CountIn(string folder)
    {
        try
        {
            HashSet<string> cores = new(StringComparer.Ordinal);
            foreach (string processor in Directory.Exists(folder) ? Directory.EnumerateDirectories(folder, "cpu*") : [])
            {
                string siblings = Path.Combine(processor, "topology", "thread_siblings_list");
                if (File.Exists(siblings))
                {
                    cores.Add(File.ReadAllText(siblings).Trim());
                }
            }

            return Math.Min(cores.Count, Environment.ProcessorCount);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return 0;
        }
    }
}
