using System.ComponentModel;
using System.Diagnostics;
using OrtQLoRA.TestKit;

namespace OrtQLoRA.Trainer.Tests.Conformance;

/// <summary>Runs the scripts of tests/conformance in Node; without Node or their packages tests are skipped.</summary>
internal static class NodeRuntime
{
    /// <summary>Exit code of browser.mjs where there is no browser.</summary>
    private const int NoBrowser = 77;

    private static readonly TimeSpan TimeLimit = TimeSpan.FromMinutes(3);

    private static string Folder => Path.Combine(Fixtures.RepositoryRoot()!, "tests", "conformance");

    /// <summary>Skips the test if Node or the packages are not there.</summary>
    internal static void Require()
    {
        if (!Directory.Exists(Path.Combine(Folder, "node_modules", "onnxruntime-web")))
        {
            Assert.Inconclusive("onnxruntime-web is not installed: run 'npm ci --ignore-scripts' in tests/conformance.");
        }

        try
        {
            using Process process = Start("--version");
            process.WaitForExit();
        }
        catch (Win32Exception)
        {
            Assert.Inconclusive("Node is not installed.");
        }
    }

    /// <summary>Runs a script and asserts that it succeeds.</summary>
    internal static string Run(string script, params string[] arguments)
    {
        using Process process = Start([Path.Combine(Folder, script), .. arguments]);
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> error = process.StandardError.ReadToEndAsync();
        if (!process.WaitForExit(TimeLimit))
        {
            process.Kill(entireProcessTree: true);
            Assert.Fail($"{script} did not end within {TimeLimit}.");
        }

        if (process.ExitCode == NoBrowser)
        {
            Assert.Inconclusive("Chromium is not installed; the variable CHROMIUM may name one.");
        }

        Assert.AreEqual(0, process.ExitCode, $"{script}: {error.Result}{output.Result}");
        return output.Result;
    }

    private static Process Start(params string[] arguments) =>
        Process.Start(new ProcessStartInfo("node", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
}
