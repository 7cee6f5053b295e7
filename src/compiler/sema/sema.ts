/** The entry: tokens in, typed translation unit out. */
import type { FunctionDecl, TranslationUnit } from '../ast/index.ts';
import { parse, type STopLevel } from '../parse/index.ts';
import type { TokenSource } from '../preprocess/index.ts';
import type { DiagnosticSink } from '../source/index.ts';
import type { SemaOptions } from './base.ts';
import { BccSema } from './bcc.ts';
import { stringText } from './literals.ts';

class Sema extends BccSema {
  private readonly fileAsm: { template: string; loc: number }[] = [];

  take(item: STopLevel): void {
    const { state } = this.diagnostics;
    if ('state' in item && item.state !== undefined) this.diagnostics.state = item.state;
    this.analyze(item);
    this.diagnostics.state = state;
  }

  private analyze(item: STopLevel): void {
    switch (item.kind) {
      case 'declaration':
        this.declaration(item);
        break;
      case 'function':
        this.errorsAtStart = item.errors;
        this.functionDefinition(this.probeFunction(item));
        break;
      case 'static-assert':
        this.staticAssert(item);
        break;
      case 'file-asm':
        this.fileAsm.push({ template: stringText(item.template), loc: item.loc });
        break;
      case 'attribute-pragma':
        if (item.attributes === null) {
          if (this.pushedAttributes.pop() === undefined)
            this.error(
              'pragma',
              "'#pragma clang attribute pop' with no matching '#pragma clang attribute push'",
              item.loc,
            );
        } else this.pushedAttributes.push({ attributes: item.attributes, targets: item.targets });
        break;
    }
  }

  finish(): TranslationUnit {
    this.finishVariables();
    this.unusedFunctions();
    for (const decl of this.functions)
      if (decl.static && decl.body === null && decl.referenced)
        this.warning(
          'undefined-internal',
          `function '${decl.name}' has internal linkage but is not defined`,
          decl.loc,
        );
    return {
      functions: this.functions,
      variables: this.variables,
      records: this.records,
      enums: this.enums,
      typedefs: this.typedefs,
      asm: this.fileAsm,
      asmLabels: this.asmLabels,
      events: this.events,
    };
  }

  private unusedFunctions(): void {
    if (!this.diagnostics.isEnabled('unused-function')) return;
    for (const decl of this.functions)
      if (isUnused(decl)) this.warning('unused-function', `unused function '${decl.name}'`, decl.loc);
  }
}

function isUnused(decl: FunctionDecl): boolean {
  const { used, unused, section } = decl.attributes;
  return (
    decl.static &&
    decl.body !== null &&
    !decl.referenced &&
    !decl.inline &&
    !used &&
    !unused &&
    section === undefined
  );
}

/**
 * Reads and checks a translation unit. Every error is in `diagnostics`; with errors the result is not fit for lowering
 * (`diagnostics.hasErrors`). Never throws on any input.
 */
export function analyze(
  tokens: TokenSource,
  diagnostics: DiagnosticSink,
  options: SemaOptions = {},
): TranslationUnit {
  const sema = new Sema(diagnostics, options);
  parse(tokens, diagnostics, (item) => sema.take(item));
  return sema.finish();
}
