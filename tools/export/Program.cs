using OrtQLoRA.ExportTool;

return ExportApp.Run(args, Console.Out, Console.Error);
