namespace OrtQLoRA.Graph.Adapters.Lora;

/// <summary>How the LoRA matrices begin (<c>init_lora_weights</c>).</summary>
public enum LoraInitialization
{
    /// <summary>
    /// <c>true</c>: A uniform in <c>±1/sqrt(in)</c> (Kaiming with a = sqrt 5), B zero. On embeddings A zero, B standard normal.
    /// </summary>
    Default,

    /// <summary><c>false</c>: B uniform in <c>±1/sqrt(r)</c> too, so that the adapter changes the output from the start.</summary>
    Random,

    /// <summary><c>gaussian</c>: A normal with standard deviation 1/r, B zero.</summary>
    Gaussian,

    /// <summary><c>orthogonal</c>: A and B from one random orthogonal matrix, so that B A is zero though neither is; even ranks only.</summary>
    Orthogonal,

    /// <summary>
    /// <c>pissa</c> (Meng et al. 2024, arXiv 2404.02948): A and B hold the largest singular values of the weight, which the base
    /// loses. With <see cref="LoraConfig.PissaIterations"/> by a randomized decomposition.
    /// </summary>
    Pissa,

    /// <summary><c>olora</c> (Büyükakyüz 2024, arXiv 2406.01775): A and B from the QR decomposition of the weight, which the base loses.</summary>
    Olora,

    /// <summary>
    /// <c>loftq</c> (Li et al. 2023, arXiv 2310.08659): A and B hold what quantization takes from the weight. On a base that
    /// this project quantizes the quantizer is the base's own, otherwise nf4.
    /// </summary>
    LoftQ,

    /// <summary><c>eva</c> (Paischer et al. 2024, arXiv 2410.07170): A from the inputs' right-singular vectors, B zero; ranks are redistributed. Needs data.</summary>
    Eva,

    /// <summary><c>corda</c> (Yang et al. 2024, arXiv 2406.05223): A and B from the weight's decomposition oriented by the inputs' covariance. Needs data.</summary>
    Corda,
}
