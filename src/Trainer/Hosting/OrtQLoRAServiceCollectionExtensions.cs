using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using OrtQLoRA.Trainer.Callbacks;

namespace OrtQLoRA.Trainer.Hosting;

/// <summary>Registers trainings with a container.</summary>
public static class OrtQLoRAServiceCollectionExtensions
{
    /// <summary>
    /// Adds <see cref="ITrainer"/>. It writes to the container's loggers, if there are any, and tells every
    /// <see cref="ITrainingCallback"/> that is registered.
    /// </summary>
    /// <param name="services">The services.</param>
    /// <returns>The services, to go on with.</returns>
    public static IServiceCollection AddOrtQLoRA(this IServiceCollection services)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.TryAddTransient<ITrainer>(p => new HostedTrainer(p.GetServices<ITrainingCallback>(), p.GetService<ILoggerFactory>()));
        return services;
    }
}
