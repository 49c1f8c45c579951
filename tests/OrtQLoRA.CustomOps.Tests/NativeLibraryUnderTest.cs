namespace OrtQLoRA.CustomOps.Tests;

/// <summary>The native library that was built beside the tests.</summary>
internal static class NativeLibraryUnderTest
{
    /// <summary>The library. A test that asks for it where it is absent is reported as skipped.</summary>
    internal static CustomOpLibrary Require()
    {
        if (!CustomOpLibrary.TryLoad(out CustomOpLibrary? library, out string? reason))
        {
            Assert.Inconclusive(reason);
        }

        return library!;
    }
}
