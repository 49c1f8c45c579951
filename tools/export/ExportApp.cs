using System.CommandLine;
using System.CommandLine.Parsing;
using OrtQLoRA.Graph;
using OrtQLoRA.Graph.Export;

namespace OrtQLoRA.ExportTool;

/// <summary>
/// The <c>ortqlora-export</c> command for deployment pipelines: exports without ONNX Runtime and without native code. Exit code 1
/// is a mistake that the user can mend, 2 a fault of ours.
/// </summary>
internal static class ExportApp
{
    private const int UserError = 1;
    private const int InternalError = 2;

    internal static int Run(string[] arguments, TextWriter output, TextWriter error)
    {
        Option<bool> verbose = new("--verbose") { Description = "Show stack traces of errors." };
        ExportFlags flags = new();
        RootCommand root = new("Writes fine-tuned models for inference servers.");
        foreach (Option flag in flags.All.Append(verbose))
        {
            root.Add(flag);
        }

        root.SetAction(result =>
        {
            ExportFlags.Print(ModelExporter.Export(flags.Source(result), flags.Options(result)), output, error);
            return 0;
        });
        ParseResult parsed = root.Parse(arguments, new ParserConfiguration { ResponseFileTokenReplacer = null });
        bool isVerbose = parsed.GetValue(verbose);
        if (parsed.Errors.Count > 0)
        {
            foreach (ParseError fault in parsed.Errors)
            {
                error.WriteLine(fault.Message);
            }

            error.WriteLine("'ortqlora-export --help' shows what there is.");
            return UserError;
        }

        try
        {
            return parsed.Invoke(new InvocationConfiguration { Output = output, Error = error, EnableDefaultExceptionHandler = false });
        }
        catch (OrtQLoRAException e)
        {
            Report(e, e.Message, isVerbose, error);
            return e.IsUserError ? UserError : InternalError;
        }
        catch (Exception e)
        {
            string hint = isVerbose ? "" : " Run again with --verbose for the stack trace, and please report it.";
            Report(e, $"This is a fault of ortqlora-export: {e.GetType().Name}: {e.Message}{hint}", isVerbose, error);
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
}
