using System.Globalization;
using Microsoft.ML.OnnxRuntime;

namespace OrtQLoRA.Trainer.Engines.Session;

/// <summary>Puts ONNX Runtime's CUDA execution provider into session options.</summary>
internal static class CudaProvider
{
    /// <summary>Appends the provider.</summary>
    /// <param name="session">Options of the session to come.</param>
    /// <param name="options">How sessions run.</param>
    /// <param name="recordsGraphs">Whether runs of the session may be recorded as CUDA graphs.</param>
    internal static void Append(SessionOptions session, EngineOptions options, bool recordsGraphs)
    {
        if (!ExecutionDevice.HasCudaProvider)
        {
            throw new EngineException(
                $"Device '{options.Device}' needs ONNX Runtime's CUDA provider; this build has {string.Join(", ", OrtEnv.Instance().GetAvailableProviders())}. "
                + "Build with -p:OrtFlavor=Gpu (package Microsoft.ML.OnnxRuntime.Gpu), on Linux or Windows with an NVIDIA GPU, or use --device cpu.",
                isUserError: true);
        }

        Dictionary<string, string> settings = new(StringComparer.Ordinal)
        {
            ["device_id"] = options.Device.Index.ToString(CultureInfo.InvariantCulture),

            // The provider's default rounds fp32 products to 10 bits of mantissa.
            ["use_tf32"] = options.UseTf32 ? "1" : "0",

            // Grow by what is asked for: doubling may reserve twice the need.
            ["arena_extend_strategy"] = "kSameAsRequested",
            ["do_copy_in_default_stream"] = "1",
            ["cudnn_conv_algo_search"] = "HEURISTIC",
            ["enable_cuda_graph"] = recordsGraphs ? "1" : "0",
        };
        if (options.DeviceMemoryLimit > 0)
        {
            settings["gpu_mem_limit"] = options.DeviceMemoryLimit.ToString(CultureInfo.InvariantCulture);
        }

        try
        {
            using OrtCUDAProviderOptions cuda = new();
            cuda.UpdateOptions(settings);
            session.AppendExecutionProvider_CUDA(cuda);
        }
        catch (Exception e) when (e is OnnxRuntimeException or EntryPointNotFoundException or DllNotFoundException)
        {
            throw new EngineException(
                $"ONNX Runtime could not start its CUDA provider on device '{options.Device}': {e.Message.TrimEnd('.')}. It needs an NVIDIA driver, the CUDA libraries and cuDNN 9 "
                + "of the versions that the package names, all on the library path; `ortqlora doctor` says what was found.",
                e,
                isUserError: true);
        }
    }
}
