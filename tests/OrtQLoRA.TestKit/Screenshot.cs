using System.Buffers.Binary;
using System.Diagnostics;
using System.IO.Compression;

namespace OrtQLoRA.TestKit;

/// <summary>Pixels of a page as headless Chromium draws it.</summary>
public sealed class Screenshot
{
    private const int BytesPerPixel = 3;
    private static readonly string[] Browsers = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

    private readonly byte[] _pixels;

    private Screenshot(int width, int height, byte[] pixels)
    {
        Width = width;
        Height = height;
        _pixels = pixels;
    }

    /// <summary>Pixels in a row.</summary>
    public int Width { get; }

    /// <summary>Rows.</summary>
    public int Height { get; }

    /// <summary>A pixel as 0xRRGGBB.</summary>
    public int this[int x, int y]
    {
        get
        {
            int at = ((y * Width) + x) * BytesPerPixel;
            return (_pixels[at] << 16) | (_pixels[at + 1] << 8) | _pixels[at + 2];
        }
    }

    /// <summary>How many pixels have a colour.</summary>
    public int Count(int colour) => Enumerable.Range(0, Width * Height).Count(i => this[i % Width, i / Width] == colour);

    /// <summary>Draws a page.</summary>
    /// <param name="page">The HTML file.</param>
    /// <param name="isDark">Whether the reader prefers dark pages.</param>
    /// <param name="width">Width of the window.</param>
    /// <param name="height">Height of the window.</param>
    /// <returns>The pixels, or null if there is no browser.</returns>
    public static Screenshot? Take(string page, bool isDark, int width = 1200, int height = 1600)
    {
        string? browser = (Environment.GetEnvironmentVariable("PATH") ?? "").Split(Path.PathSeparator)
            .SelectMany(f => Browsers.Select(b => Path.Combine(f, b))).FirstOrDefault(File.Exists);
        if (browser is null)
        {
            return null;
        }

        using TemporaryFolder folder = new();
        string image = folder.File("page.png");
        ProcessStartInfo start = new(browser)
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
            ArgumentList =
            {
                "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", $"--user-data-dir={folder.File("profile")}",
                $"--blink-settings=preferredColorScheme={(isDark ? 0 : 1)}", $"--window-size={width},{height}", $"--screenshot={image}", new Uri(page).AbsoluteUri,
            },
        };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return File.Exists(image) ? Read(File.ReadAllBytes(image)) : throw new InvalidOperationException($"{browser} took no picture: {error}{output.Result}");
    }

    /// <summary>Reads a PNG of 8 bits a channel without interlacing, as Chromium writes it (ISO/IEC 15948).</summary>
    private static Screenshot Read(byte[] png)
    {
        using MemoryStream packed = new();
        int width = 0;
        int height = 0;
        int channels = 0;
        for (int at = 8; at < png.Length;)
        {
            int length = BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(at));
            string type = System.Text.Encoding.ASCII.GetString(png, at + 4, 4);
            if (type == "IHDR")
            {
                width = BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(at + 8));
                height = BinaryPrimitives.ReadInt32BigEndian(png.AsSpan(at + 12));
                channels = png[at + 17] == 6 ? 4 : 3;
            }
            else if (type == "IDAT")
            {
                packed.Write(png, at + 8, length);
            }

            at += length + 12;
        }

        packed.Position = 0;
        using ZLibStream unpacked = new(packed, CompressionMode.Decompress);
        byte[] pixels = new byte[width * height * BytesPerPixel];
        byte[] above = new byte[width * channels];
        byte[] row = new byte[width * channels];
        for (int y = 0; y < height; y++)
        {
            int filter = unpacked.ReadByte();
            unpacked.ReadExactly(row);
            Unfilter(filter, row, above, channels);
            for (int x = 0; x < width; x++)
            {
                row.AsSpan(x * channels, BytesPerPixel).CopyTo(pixels.AsSpan(((y * width) + x) * BytesPerPixel));
            }

            (row, above) = (above, row);
        }

        return new Screenshot(width, height, pixels);
    }

    private static void Unfilter(int filter, byte[] row, byte[] above, int channels)
    {
        for (int i = 0; i < row.Length; i++)
        {
            int left = i >= channels ? row[i - channels] : 0;
            int corner = i >= channels ? above[i - channels] : 0;
            row[i] += (byte)(filter switch
            {
                1 => left,
                2 => above[i],
                3 => (left + above[i]) / 2,
                4 => Paeth(left, above[i], corner),
                _ => 0,
            });
        }
    }

    private static int Paeth(int left, int up, int corner)
    {
        int estimate = left + up - corner;
        int toLeft = Math.Abs(estimate - left);
        int toUp = Math.Abs(estimate - up);
        int toCorner = Math.Abs(estimate - corner);
        return toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner;
    }
}
