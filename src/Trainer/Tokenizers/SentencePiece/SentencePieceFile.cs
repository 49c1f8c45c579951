using Google.Protobuf;
using OrtQLoRA.Graph;

namespace OrtQLoRA.Trainer.Tokenizers.SentencePiece;

/// <summary>What a SentencePiece model file says, as far as text is turned into ids by it (sentencepiece_model.proto).</summary>
internal sealed class SentencePieceFile
{
    /// <summary>A unigram language model, the kind that a file is of where it does not say.</summary>
    internal const int Unigram = 1;

    /// <summary>Byte-pair encoding.</summary>
    internal const int BytePairs = 2;

    private readonly List<SentencePiece> _pieces = [];

    private SentencePieceFile()
    {
    }

    /// <summary>Tokens; the place in the list is the id.</summary>
    internal IReadOnlyList<SentencePiece> Pieces => _pieces;

    /// <summary>How texts are split.</summary>
    internal int Kind { get; private set; } = Unigram;

    internal bool ByteFallback { get; private set; }

    internal int BeginningId { get; private set; } = 1;

    internal int EndId { get; private set; } = 2;

    internal int PaddingId { get; private set; } = -1;

    internal bool MarksEndsOfWords { get; private set; }

    internal byte[] CharacterMap { get; private set; } = [];

    internal bool AddsDummyPrefix { get; private set; } = true;

    internal bool RemovesExtraSpaces { get; private set; } = true;

    /// <summary>Reads a file.</summary>
    /// <exception cref="ModelFormatException">The content is no such file.</exception>
    internal static SentencePieceFile Read(ReadOnlyMemory<byte> content, string source)
    {
        SentencePieceFile file = new();
        try
        {
            ReadMessage(content.ToArray(), (field, input) =>
            {
                switch (field)
                {
                    case 1:
                        file._pieces.Add(ReadPiece(input.ReadBytes().ToByteArray()));
                        return true;
                    case 2:
                        ReadMessage(input.ReadBytes().ToByteArray(), file.ReadTrainerSpec);
                        return true;
                    case 3:
                        ReadMessage(input.ReadBytes().ToByteArray(), file.ReadNormalizerSpec);
                        return true;
                    default:
                        return false;
                }
            });
        }
        catch (InvalidProtocolBufferException e)
        {
            throw Damaged(source, e.Message, e);
        }

        return file._pieces.Count > 0 ? file : throw Damaged(source, "it holds no piece.", null);
    }

    private static ModelFormatException Damaged(string source, string fault, Exception? inner) =>
        new($"'{source}' is no SentencePiece model: {fault} Fetch tokenizer.model again from where the model comes from.", inner);

    private static SentencePiece ReadPiece(byte[] content)
    {
        (string text, float score, int kind) = ("", 0, (int)PieceKind.Normal);
        ReadMessage(content, (field, input) =>
        {
            switch (field)
            {
                case 1:
                    text = input.ReadString();
                    return true;
                case 2:
                    score = input.ReadFloat();
                    return true;
                case 3:
                    kind = input.ReadInt32();
                    return true;
                default:
                    return false;
            }
        });
        return new SentencePiece(text, score, (PieceKind)kind);
    }

    private bool ReadTrainerSpec(int field, CodedInputStream input)
    {
        switch (field)
        {
            case 3:
                Kind = input.ReadInt32();
                return true;
            case 24:
                MarksEndsOfWords = input.ReadBool();
                return true;
            case 35:
                ByteFallback = input.ReadBool();
                return true;
            case 41:
                BeginningId = input.ReadInt32();
                return true;
            case 42:
                EndId = input.ReadInt32();
                return true;
            case 43:
                PaddingId = input.ReadInt32();
                return true;
            default:
                return false;
        }
    }

    private bool ReadNormalizerSpec(int field, CodedInputStream input)
    {
        switch (field)
        {
            case 2:
                CharacterMap = input.ReadBytes().ToByteArray();
                return true;
            case 3:
                AddsDummyPrefix = input.ReadBool();
                return true;
            case 4:
                RemovesExtraSpaces = input.ReadBool();
                return true;
            default:
                return false;
        }
    }

    /// <summary>Walks over the fields of a message; what <paramref name="read"/> does not read is left out.</summary>
    private static void ReadMessage(byte[] content, Func<int, CodedInputStream, bool> read)
    {
        CodedInputStream input = new(content);
        for (uint tag = input.ReadTag(); tag != 0; tag = input.ReadTag())
        {
            if (!read(WireFormat.GetTagFieldNumber(tag), input))
            {
                input.SkipLastField();
            }
        }
    }
}
