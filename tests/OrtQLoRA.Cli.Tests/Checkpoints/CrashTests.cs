using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace OrtQLoRA.Cli.Tests.Checkpoints;

/// <summary>
/// Kills the command in processes of its own, fills the disk under it, and resumes: the result must be that of the run that
/// was left alone. <c>ORTQLORA_CRASH_KILLS=200</c> kills more often than the default, which is short for CI.
/// </summary>
[TestClass]
public sealed class CrashTests
{
    private const int DefaultKills = 4;
    private const int Seed = 20240611;

    private static readonly string[] Flags =
        ["--max-steps", "60", "--save-every", "3", "--dropout", "0.1", "--ema", "0.9", "--threads", "1", "--resume"];

    public TestContext TestContext { get; set; } = null!;

    [TestMethod]
    [OSCondition(ConditionMode.Exclude, OperatingSystems.Windows)]
    public async Task Resume_KilledAtRandomMoments_EqualsTheUninterruptedRun()
    {
        int kills = int.Parse(Environment.GetEnvironmentVariable("ORTQLORA_CRASH_KILLS") ?? DefaultKills.ToString(CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);
        Random random = new(Seed);
        using TrainingFixture fixture = new();
        string whole = fixture.Folder.File("whole");
        Stopwatch clock = Stopwatch.StartNew();
        Assert.IsNull(await RunAsync(fixture.Arguments("whole", Flags), killAfter: null));
        TimeSpan duration = clock.Elapsed;
        string run = fixture.Folder.File("run");
        int killed = 0;
        int killedInTraining = 0;
        int finished = 0;
        while (killed < kills)
        {
            long before = LatestStep(run);
            string? fault = await RunAsync(fixture.Arguments("run", Flags), killAfter: duration * random.NextDouble());
            if (fault is null)
            {
                finished++;
                Compare(whole, run);
                continue;
            }

            Assert.AreEqual("killed", fault, $"Seed {Seed}, kill {killed}.");
            killed++;
            killedInTraining += before > 0 || LatestStep(run) > 0 ? 1 : 0;
            Assert.IsGreaterThanOrEqualTo(before, LatestStep(run), $"Seed {Seed}, kill {killed}: a checkpoint got lost.");
        }

        Assert.IsNull(await RunAsync(fixture.Arguments("run", Flags), killAfter: null));
        Compare(whole, run);
        TestContext.WriteLine($"{killed} kills, {killedInTraining} of them with a checkpoint behind them, {finished + 1} runs finished, all equal.");
    }

    /// <summary>
    /// A run in a file system that is too small: it goes on without the checkpoints that do not fit, fails only if there is no
    /// room for its adapter, and resumes to the same bits when there is room. Needs a mount of the user's own, which not every machine allows.
    /// </summary>
    [TestMethod]
    [OSCondition(OperatingSystems.Linux)]
    [DataRow(24, 1)]
    [DataRow(100, 0)]
    [DataRow(220, 0)]
    public async Task Resume_DiskWasFull_EqualsTheUninterruptedRun(int kilobytes, int expected)
    {
        using TrainingFixture fixture = new();
        string whole = fixture.Train("whole", Flags);
        string small = fixture.Folder.File("small/run");
        string mount = Path.GetDirectoryName(small)!;
        string command = $"{Quote(Dotnet)} {Quote(Tool)} {string.Join(' ', fixture.Arguments("small/run", Flags).Select(Quote))}";
        string script = fixture.Folder.Write("full.sh", $"""
            mount -t tmpfs -o size={kilobytes}k tmpfs {Quote(mount)} || exit 77
            {command} 2> {Quote(fixture.Folder.File("full.log"))}; echo $? > {Quote(fixture.Folder.File("full.code"))}
            mount -o remount,size=64m {Quote(mount)} && {command} && cp -r {Quote(small)} {Quote(fixture.Folder.File("resumed"))}
            """);
        ProcessStartInfo start = new("unshare", ["--map-root-user", "--mount", "bash", script]) { RedirectStandardError = true, RedirectStandardOutput = true };
        using Process process = StartOrSkip(start);
        string error = await process.StandardError.ReadToEndAsync(TestContext.CancellationToken);
        await process.WaitForExitAsync(TestContext.CancellationToken);
        if (!File.Exists(fixture.Folder.File("full.code")))
        {
            Assert.Inconclusive($"This machine lets no user mount a small file system: {error}");
        }

        string log = File.ReadAllText(fixture.Folder.File("full.log"));
        Assert.AreEqual(0, process.ExitCode, error);
        Assert.AreEqual($"{expected}", File.ReadAllText(fixture.Folder.File("full.code")).Trim(), log);
        StringAssert.Contains(log, "space left on the disk");
        Compare(whole, fixture.Folder.File("resumed"));
    }

    private static string Dotnet => Environment.ProcessPath is { } path && Path.GetFileNameWithoutExtension(path) == "dotnet" ? path : "dotnet";

    private static string Tool => Path.Combine(AppContext.BaseDirectory, "ortqlora.dll");

    private static string Quote(string text) => $"'{text.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    private static Process StartOrSkip(ProcessStartInfo start)
    {
        try
        {
            return Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            Assert.Inconclusive($"unshare is not there: {e.Message}");
            throw;
        }
    }

    /// <summary>Runs the command in a process.</summary>
    /// <returns>Null if it succeeded, <c>killed</c>, or its error.</returns>
    private async Task<string?> RunAsync(string[] arguments, TimeSpan? killAfter)
    {
        using Process process = Process.Start(new ProcessStartInfo(Dotnet, [Tool, .. arguments]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.CancellationToken);
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.CancellationToken);
        if (killAfter is TimeSpan delay)
        {
            await Task.WhenAny(process.WaitForExitAsync(TestContext.CancellationToken), Task.Delay(delay, TestContext.CancellationToken));
        }

        bool killed = killAfter is not null && !process.HasExited;
        if (killed)
        {
            process.Kill();
        }

        await process.WaitForExitAsync(TestContext.CancellationToken);
        await output;
        return killed ? "killed" : process.ExitCode == 0 ? null : await error;
    }

    /// <summary>Step of the latest checkpoint, which must be whole: it got its name after its manifest.</summary>
    private static long LatestStep(string run)
    {
        string folder = Path.Combine(run, "checkpoints");
        string? latest = Directory.Exists(folder) ? Directory.GetDirectories(folder, "step-*").Max() : null;
        if (latest is null)
        {
            return 0;
        }

        using JsonDocument manifest = JsonDocument.Parse(File.ReadAllText(Path.Combine(latest, "manifest.json")));
        foreach (JsonElement file in manifest.RootElement.GetProperty("files").EnumerateArray())
        {
            Assert.AreEqual(file.GetProperty("bytes").GetInt64(), new FileInfo(Path.Combine(latest, file.GetProperty("path").GetString()!)).Length, latest);
        }

        return manifest.RootElement.GetProperty("step").GetInt64();
    }

    private static void Compare(string whole, string run)
    {
        TrainingFixture.AssertSameRun(whole, run);
        Directory.Delete(run, recursive: true);
    }
}
