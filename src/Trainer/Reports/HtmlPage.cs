using System.Reflection;
using OrtQLoRA.Graph.IO;

namespace OrtQLoRA.Trainer.Reports;

/// <summary>A page that needs no other file: style sheet and drawings are inside, colours follow the reader's light or dark setting.</summary>
internal static class HtmlPage
{
    private const string StyleSheet = "OrtQLoRA.Trainer.Reports.report.css";

    /// <summary>Writes a page.</summary>
    /// <param name="path">The file.</param>
    /// <param name="title">Title of the page.</param>
    /// <param name="body">Content of its main element.</param>
    internal static void Write(string path, string title, string body)
    {
        using Stream resource = Assembly.GetExecutingAssembly().GetManifestResourceStream(StyleSheet)!;
        using StreamReader reader = new(resource);
        string page = $"""
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <meta name="viewport" content="width=device-width, initial-scale=1">
            <title>{LineChart.Escape(title)}</title>
            <style>
            {reader.ReadToEnd()}</style>
            </head>
            <body>
            <main>
            {body}
            </main>
            </body>
            </html>

            """;
        AtomicFile.Write(path, stream =>
        {
            using StreamWriter writer = new(stream, leaveOpen: true);
            writer.Write(page);
        });
    }
}
