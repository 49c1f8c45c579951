using System.Text;
using Spectre.Console;

namespace OrtQLoRA.Cli;

/// <summary>Where commands write: results to the output, progress and remarks to the error stream.</summary>
internal sealed class CommandContext
{
    internal CommandContext(TextWriter output, TextWriter error)
    {
        Output = output;
        Error = error;
        Tables = Create(output);
        Progress = Create(error);
    }

    /// <summary>Plain results.</summary>
    internal TextWriter Output { get; }

    /// <summary>Plain remarks.</summary>
    internal TextWriter Error { get; }

    /// <summary>Tables on the output.</summary>
    internal IAnsiConsole Tables { get; }

    /// <summary>Progress bars on the error stream.</summary>
    internal IAnsiConsole Progress { get; }

    private static IAnsiConsole Create(TextWriter writer)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new WriterOutput(writer) });
        return console;
    }

    /// <summary>Tests and pipes are no terminals: tables get a fixed width there.</summary>
    private sealed class WriterOutput(TextWriter writer) : IAnsiConsoleOutput
    {
        private const int PlainWidth = 160;

        public TextWriter Writer => writer;

        public bool IsTerminal => (writer == Console.Out && !Console.IsOutputRedirected) || (writer == Console.Error && !Console.IsErrorRedirected);

        public int Width => IsTerminal ? Console.WindowWidth : PlainWidth;

        public int Height => IsTerminal ? Console.WindowHeight : 50;

        public void SetEncoding(Encoding encoding)
        {
        }
    }
}
