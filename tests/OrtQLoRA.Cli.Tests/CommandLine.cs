namespace OrtQLoRA.Cli.Tests;

/// <summary>Runs the command in this process, as a shell would.</summary>
internal static class CommandLine
{
    /// <summary>Runs it.</summary>
    public static (int ExitCode, string Output, string Error) Run(params string[] arguments)
    {
        using StringWriter output = new();
        using StringWriter error = new();
        int exitCode = CommandLineApp.Run(arguments, output, error);
        return (exitCode, output.ToString(), error.ToString());
    }

    /// <summary>Runs it and asserts that it succeeds.</summary>
    /// <returns>Its output.</returns>
    public static string Succeed(params string[] arguments)
    {
        (int exitCode, string output, string error) = Run(arguments);
        Assert.AreEqual(0, exitCode, $"ortqlora {string.Join(' ', arguments)}\n{error}");
        return output;
    }

    /// <summary>Runs it and asserts that it fails by the user's fault.</summary>
    /// <returns>Its message.</returns>
    public static string Fail(params string[] arguments)
    {
        (int exitCode, _, string error) = Run(arguments);
        Assert.AreEqual(1, exitCode, $"ortqlora {string.Join(' ', arguments)}\n{error}");
        Assert.IsFalse(error.Contains("   at ", StringComparison.Ordinal), $"No stack trace without --verbose:\n{error}");
        return error;
    }
}
