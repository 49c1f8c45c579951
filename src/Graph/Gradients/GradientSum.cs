using OrtQLoRA.Graph.IR;

namespace OrtQLoRA.Graph.Gradients;

/// <summary>Adds up the gradients that a value gets from its several uses, in the order of arrival.</summary>
internal static class GradientSum
{
    /// <summary>The sum of at least one gradient, each of the value's shape.</summary>
    public static Value Of(GradientForms forms, IReadOnlyList<Value> gradients)
    {
        if (gradients.Count == 1)
        {
            return gradients[0];
        }

        List<Value> terms = [.. gradients];
        JoinPaddedParts(forms, terms);

        // What needs a full-size tensor to be added onto comes last: broadcasts and scatters.
        List<Value> broadcasts = terms.FindAll(forms.IsExpanded);
        List<Value> scatters = terms.FindAll(t => forms.TryGetScattered(t, out _));
        terms.RemoveAll(t => broadcasts.Contains(t) || scatters.Contains(t));
        if (terms.Count == 0)
        {
            List<Value> first = broadcasts.Count > 0 ? broadcasts : scatters;
            terms.Add(first[0]);
            first.RemoveAt(0);
        }

        Value sum = terms.Skip(1).Aggregate(terms[0], forms.Builder.Add);
        foreach (Value broadcast in broadcasts)
        {
            Value added = forms.Builder.Add(sum, forms.BeforeExpand(broadcast));
            added.Type = sum.Type;
            sum = added;
        }

        foreach (Value scattered in scatters)
        {
            forms.TryGetScattered(scattered, out ScatteredGradient form);
            sum = form.Onto(sum);
        }

        return sum;
    }

    // Zero-padded parts that together cover an axis (the gradients of slices of a packed or rotated tensor) are their
    // concatenation: one copy instead of one padded tensor and one addition each.
    private static void JoinPaddedParts(GradientForms forms, List<Value> terms)
    {
        while (FindCover(forms, terms) is { } cover)
        {
            int position = terms.IndexOf(cover[0].Gradient);
            Value joined = forms.Builder.Concat(cover[0].Part.Axis, cover.Select(c => c.Part.Part));
            joined.Type = cover[0].Gradient.Type;
            foreach ((Value gradient, _) in cover)
            {
                terms.Remove(gradient);
            }

            terms.Insert(Math.Min(position, terms.Count), joined);
        }
    }

    private static List<(Value Gradient, PaddedPart Part)>? FindCover(GradientForms forms, List<Value> terms)
    {
        List<(Value Gradient, PaddedPart Part)> parts = [];
        foreach (Value term in terms)
        {
            if (forms.TryGetPaddedPart(term, out PaddedPart part))
            {
                parts.Add((term, part));
            }
        }

        foreach ((Value Gradient, PaddedPart Part) first in parts.Where(p => p.Part.Before == 0))
        {
            List<(Value Gradient, PaddedPart Part)> cover = [first];
            while (cover[^1].Part.After > 0)
            {
                PaddedPart last = cover[^1].Part;
                int next = parts.FindIndex(p => p.Part.Axis == last.Axis && p.Part.Before == last.Before + last.Length && p.Part.Length > 0);
                if (next < 0)
                {
                    break;
                }

                cover.Add(parts[next]);
            }

            if (cover[^1].Part.After == 0 && cover.Count > 1)
            {
                return cover;
            }
        }

        return null;
    }
}
