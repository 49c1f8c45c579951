namespace OrtQLoRA.Graph.Quantization;

/// <summary>
/// Keeps the result asked for last. What is read part by part is made once, and no more than one result is held at a time.
/// </summary>
/// <typeparam name="T">The result.</typeparam>
internal sealed class LastUsed<T>
    where T : class
{
    private readonly Lock _lock = new();
    private object? _key;
    private T? _value;

    /// <summary>The result of a key, made anew unless it is the last one asked for.</summary>
    public T Get(object key, Func<T> make)
    {
        lock (_lock)
        {
            if (_value is null || !ReferenceEquals(_key, key))
            {
                // The old one goes before the new one is made.
                _value = null;
                _value = make();
                _key = key;
            }

            return _value;
        }
    }
}
