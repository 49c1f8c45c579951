using System.Collections;

namespace OrtQLoRA.Trainer.Chat.Jinja;

/// <summary>The tests behind <c>is</c>.</summary>
internal static class JinjaTests
{
    internal static bool Apply(string name, object? value, IReadOnlyList<object?> arguments) => name switch
    {
        "true-like" => JinjaValues.IsTrue(value),
        "defined" => value is not JinjaUndefined,
        "undefined" => value is JinjaUndefined,
        "none" => value is null,
        "string" => value is string,
        "number" => value is long or double,
        "integer" => value is long,
        "float" => value is double,
        "boolean" => value is bool,
        "true" => value is true,
        "false" => value is false,
        "mapping" => value is IDictionary<string, object?>,
        "iterable" or "sequence" => value is string or IEnumerable,
        "callable" => value is JinjaFunction,
        "even" => (long)JinjaValues.ToDouble(value) % 2 == 0,
        "odd" => (long)JinjaValues.ToDouble(value) % 2 != 0,
        "divisibleby" => (long)JinjaValues.ToDouble(value) % (long)JinjaValues.ToDouble(arguments[0]) == 0,
        "equalto" or "eq" or "==" or "sameas" => JinjaValues.AreEqual(value, arguments[0]),
        "ne" or "!=" => !JinjaValues.AreEqual(value, arguments[0]),
        "in" => JinjaValues.Contains(arguments[0], value),
        "lower" => value is string text && !text.Any(char.IsUpper),
        "upper" => value is string text && !text.Any(char.IsLower),
        "gt" or ">" or "greaterthan" => JinjaValues.Compare(value, arguments[0]) > 0,
        "lt" or "<" or "lessthan" => JinjaValues.Compare(value, arguments[0]) < 0,
        "ge" or ">=" => JinjaValues.Compare(value, arguments[0]) >= 0,
        "le" or "<=" => JinjaValues.Compare(value, arguments[0]) <= 0,
        _ => throw new JinjaException($"The chat template uses the test '{name}', which is not known."),
    };
}
