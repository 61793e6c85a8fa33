import type { CompileOptions } from '@peftjs/core';
import type { Device, OnnxRuntimeOptions, RuntimeKind } from './options.js';
import type { OrtOptions } from './ort.js';
import type { Placement } from './platform/platform.js';

/** How a session is opened. The figures behind each line are in the repository's notes on backends. */
export function sessionOptions(
  { threads, logSeverity = 3 }: OnnxRuntimeOptions,
  runtime: RuntimeKind,
  device: Device,
  purpose: CompileOptions['purpose'],
  { folder, files }: Placement,
): OrtOptions {
  const session: Record<string, string> = {};
  if (folder !== undefined) session.model_external_initializers_file_folder_path = folder;
  // Packing a weight makes a copy per session, and gradients differ in their last bits between packed and plain.
  if (purpose !== 'serve') session.disable_prepacking = '1';
  return {
    executionProviders: runtime === 'web' ? [device] : device === 'cpu' ? ['cpu'] : [device, 'cpu'],
    ...(threads !== undefined && { intraOpNumThreads: threads }),
    interOpNumThreads: 1,
    enableMemPattern: false, // a pattern is kept per shape, and lengths vary
    enableCpuMemArena: true,
    graphOptimizationLevel: 'all',
    logSeverityLevel: logSeverity,
    extra: { session },
    ...(files && { externalData: files }),
  };
}
