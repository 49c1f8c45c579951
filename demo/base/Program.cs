using OrtQLoRA.Demo.Base;

if (args.Length != 1)
{
    Console.Error.WriteLine("usage: demo-base <folder>: writes the demo's texts, vocabulary and untrained model there.");
    return 1;
}

DemoMaterial.Write(args[0]);
return 0;
