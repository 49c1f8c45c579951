namespace OrtQLoRA.Graph.Adapters.Vera;

/// <summary>
/// The generator MT19937 (Matsumoto and Nishimura 1998) as PyTorch's CPU generator seeds and reads it, so that numbers are
/// PyTorch's to the last bit.
/// </summary>
internal sealed class MersenneTwister
{
    private const int Size = 624;
    private const int Middle = 397;
    private readonly uint[] _state = new uint[Size];
    private int _next = Size;

    /// <summary>Seeds as <c>torch.Generator().manual_seed</c>: with the lower 32 bits.</summary>
    public MersenneTwister(ulong seed)
    {
        _state[0] = (uint)seed;
        for (uint i = 1; i < Size; i++)
        {
            uint previous = _state[i - 1];
            _state[i] = (1812433253u * (previous ^ (previous >> 30))) + i;
        }
    }

    /// <summary>
    /// Fills with <c>torch.Tensor.uniform_(low, high)</c>: 24 bits of one output for each element, <c>fma(u, high - low, low)</c>.
    /// </summary>
    public void FillUniform(Span<float> values, float low, float high)
    {
        float range = high - low;
        for (int i = 0; i < values.Length; i++)
        {
            float u = (Next() & 0xFFFFFF) * (1f / (1 << 24));
            values[i] = MathF.FusedMultiplyAdd(u, range, low);
        }
    }

    private uint Next()
    {
        if (_next == Size)
        {
            Twist();
        }

        uint y = _state[_next++];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9D2C5680u;
        y ^= (y << 15) & 0xEFC60000u;
        return y ^ (y >> 18);
    }

    private void Twist()
    {
        for (int i = 0; i < Size; i++)
        {
            uint joined = (_state[i] & 0x80000000u) | (_state[(i + 1) % Size] & 0x7FFFFFFFu);
            _state[i] = _state[(i + Middle) % Size] ^ (joined >> 1) ^ ((joined & 1) != 0 ? 0x9908B0DFu : 0);
        }

        _next = 0;
    }
}
