// The part of markdown-it that the page uses.
export interface Token {
  type: string;
  tag: string;
  nesting: -1 | 0 | 1;
  level: number;
  map: [first: number, end: number] | null;
  content: string;
  info: string;
  hidden: boolean;
  children: Token[] | null;
  attrGet(name: string): string | null;
}
export default class MarkdownIt {
  constructor(options: { html: boolean; linkify: boolean; maxNesting: number });
  linkify: { set(options: { fuzzyLink: boolean; fuzzyEmail: boolean; fuzzyIP: boolean }): void };
  validateLink: (href: string) => boolean;
  parse(source: string, environment: object): Token[];
}
