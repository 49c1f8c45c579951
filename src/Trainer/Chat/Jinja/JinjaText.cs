using System.Collections;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>Writes values as Python does.</summary>
internal static class JinjaText
{
    private static readonly JsonSerializerOptions Plain = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary><c>str(value)</c>.</summary>
    internal static string Of(object? value) => value switch
    {
        string text => text,
        JinjaUndefined => "",
        _ => Repr(value),
    };

    /// <summary><c>json.dumps(value, ensure_ascii=False)</c>.</summary>
    /// <param name="value">The value.</param>
    /// <param name="indent">Spaces of a level; null for one line.</param>
    internal static string Json(object? value, int? indent = null)
    {
        StringBuilder text = new();
        WriteJson(text, value, indent, 0);
        return text.ToString();
    }

    private static string Repr(object? value) => value switch
    {
        null => "None",
        true => "True",
        false => "False",
        long number => number.ToString(CultureInfo.InvariantCulture),
        double number => Number(number),
        string text => text.Contains('\'') && !text.Contains('"') ? $"\"{text}\"" : $"'{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("'", "\\'", StringComparison.Ordinal).Replace("\n", "\\n", StringComparison.Ordinal)}'",
        IDictionary<string, object?> map => "{" + string.Join(", ", map.Select(p => $"{Repr(p.Key)}: {Repr(p.Value)}")) + "}",
        IEnumerable list => "[" + string.Join(", ", list.Cast<object?>().Select(Repr)) + "]",
        _ => value.ToString() ?? "",
    };

    private static string Number(double number)
    {
        string text = number.ToString("R", CultureInfo.InvariantCulture).ToLowerInvariant();
        return text.AsSpan().ContainsAny(".enai") ? text : text + ".0";
    }

    private static void WriteJson(StringBuilder text, object? value, int? indent, int level)
    {
        switch (value)
        {
            case null or JinjaUndefined:
                text.Append("null");
                break;
            case bool flag:
                text.Append(flag ? "true" : "false");
                break;
            case string s:
                text.Append(JsonSerializer.Serialize(s, Plain));
                break;
            case IDictionary<string, object?> map:
                WriteItems(text, '{', '}', indent, level, map, p =>
                {
                    text.Append(JsonSerializer.Serialize(p.Key, Plain)).Append(": ");
                    WriteJson(text, p.Value, indent, level + 1);
                });
                break;
            case IEnumerable list:
                WriteItems(text, '[', ']', indent, level, list.Cast<object?>(), v => WriteJson(text, v, indent, level + 1));
                break;
            default:
                text.Append(Repr(value));
                break;
        }
    }

    private static void WriteItems<T>(StringBuilder text, char open, char close, int? indent, int level, IEnumerable<T> items, Action<T> write)
    {
        text.Append(open);
        bool isFirst = true;
        foreach (T item in items)
        {
            text.Append(isFirst ? "" : indent is null ? ", " : ",");
            NewLine(level + 1);
            write(item);
            isFirst = false;
        }

        if (!isFirst)
        {
            NewLine(level);
        }

        text.Append(close);

        void NewLine(int depth)
        {
            if (indent is int spaces)
            {
                text.Append('\n').Append(' ', spaces * depth);
            }
        }
    }
}
