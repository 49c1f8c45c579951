namespace OrtQLoRA.Graph.Gradients.Rules;

/// <summary>Recurrent layers.</summary>
internal static class RecurrentRules
{
    public static void Register(GradientRuleRegistry rules)
    {
        rules.Add("LSTM", c => new RecurrentGradient(c, new LstmCell()).Build());
        rules.Add("GRU", c => new RecurrentGradient(c, new GruCell()).Build());
        rules.Add("RNN", c => new RecurrentGradient(c, new RnnCell()).Build());
    }
}
