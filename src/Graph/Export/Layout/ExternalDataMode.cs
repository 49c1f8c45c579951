namespace OrtQLoRA.Graph.Export.Layout;

/// <summary>Where the weights of an exported model lie.</summary>
public enum ExternalDataMode
{
    /// <summary>
    /// As in the original: in the model file, or in as many data files beside it. A model that outgrows one file gets a data
    /// file.
    /// </summary>
    Keep,

    /// <summary>All in the model file, which ends at 2 GB.</summary>
    Embed,

    /// <summary>In one data file beside the model.</summary>
    Single,

    /// <summary>In several data files of limited size.</summary>
    Sharded,
}
