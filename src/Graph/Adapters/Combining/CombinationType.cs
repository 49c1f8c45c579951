namespace OrtQLoRA.Graph.Adapters.Combining;

/// <summary>How several LoRA adapters become one: the types of PEFT's <c>add_weighted_adapter</c>.</summary>
public enum CombinationType
{
    /// <summary>Weighted sums of the A and of the B matrices apart; equal ranks. An approximation: cross terms appear.</summary>
    Linear,

    /// <summary>Matrices one below the other; ranks add up. Exact.</summary>
    Cat,

    /// <summary>Singular value decomposition of the sum of the weighted changes.</summary>
    Svd,

    /// <summary>TIES (Yadav et al. 2023, arXiv 2306.01708) on A and B apart: prune, elect signs, mean of those that agree.</summary>
    Ties,

    /// <summary>TIES on the weights' changes, decomposed.</summary>
    TiesSvd,

    /// <summary>DARE (Yu et al. 2023, arXiv 2311.03099) on A and B apart: drop at random, rescale, sum.</summary>
    DareLinear,

    /// <summary>DARE's dropping, then TIES' election.</summary>
    DareTies,

    /// <summary><see cref="DareLinear"/> on the weights' changes, decomposed.</summary>
    DareLinearSvd,

    /// <summary><see cref="DareTies"/> on the weights' changes, decomposed.</summary>
    DareTiesSvd,

    /// <summary>Weighted sums of the largest magnitudes of A and of B.</summary>
    MagnitudePrune,

    /// <summary><see cref="MagnitudePrune"/> on the weights' changes, decomposed.</summary>
    MagnitudePruneSvd,
}
