using System.CommandLine;
using System.CommandLine.Parsing;
using OrtQLoRA.Cli.Commands;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Cli;

/// <summary>
/// The <c>ortqlora</c> command. Errors are one message on the error stream; exit code 1 is a mistake that the user can mend,
/// 2 a fault of ours.
/// </summary>
internal static class CommandLineApp
{
    internal const int UserError = 1;
    internal const int InternalError = 2;

    /// <summary>The tree of commands.</summary>
    internal static RootCommand CreateRoot(CommandContext context, out Option<bool> verbose)
    {
        verbose = new Option<bool>("--verbose") { Description = "Show stack traces of errors.", Recursive = true };
        return new RootCommand("Fine-tunes ONNX models on ONNX Runtime.")
        {
            verbose,
            InspectCommand.Create(context),
            TrainCommand.Create(context),
            ArtifactsCommand.Create(context),
            EvalCommand.Create(context),
            GradientsCommand.Create(context),
            GenerateCommand.Create(context),
            ReportCommand.Create(context),
            CompareCommand.Create(context),
            AdapterCommand.Create(context),
            ExportCommand.Create(context),
            QuantizeCommand.Create(context),
            DoctorCommand.Create(context),
            BenchCommand.Create(context),
            DemoCommand.Create(context),
        };
    }

    internal static int Run(string[] arguments, TextWriter output, TextWriter error)
    {
        RootCommand root = CreateRoot(new CommandContext(output, error), out Option<bool> verbose);
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        bool isVerbose = parsed.GetValue(verbose);
        if (parsed.Errors.Count > 0)
        {
            foreach (ParseError fault in parsed.Errors)
            {
                error.WriteLine(fault.Message);
            }

            foreach (string flag in parsed.UnmatchedTokens.Where(t => t.StartsWith("--", StringComparison.Ordinal)))
            {
                error.WriteLine($"Did you mean {NearestName.Of(flag, parsed.CommandResult.Command.Options.Select(o => o.Name))}?");
            }

            error.WriteLine($"'ortqlora {string.Join(' ', CommandPath(parsed))} --help' shows what there is.".Replace("  ", " ", StringComparison.Ordinal));
            return UserError;
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false });
        }
        catch (OperationCanceledException e)
        {
            error.WriteLine(e.Message);
            return UserError;
        }
        catch (OrtQLoRAException e)
        {
            Report(e, e.Message, isVerbose, error);
            return e.IsUserError ? UserError : InternalError;
        }
        catch (Exception e)
        {
            string hint = isVerbose ? "" : " Run again with --verbose for the stack trace, and please report it.";
            Report(e, $"This is a fault of ortqlora: {e.GetType().Name}: {e.Message}{hint}", isVerbose, error);
            return InternalError;
        }
    }

    private static void Report(Exception e, string message, bool verbose, TextWriter error)
    {
        error.WriteLine(message);
        if (verbose)
        {
            error.WriteLine(e);
        }
    }

    private static IEnumerable<string> CommandPath(ParseResult parsed)
    {
        for (CommandResult? result = parsed.CommandResult; result?.Parent is CommandResult parent; result = parent)
        {
            yield return result.Command.Name;
        }
    }
}
