"""The page of one file: its docstring in front, then rows of prose with the code that they belong to."""

import re

from book import code, prose, questions
from book.page import escape, slug

# What a picture shows, where no docstring says it: the function that draws it has none, or draws anything.
SHOWN = {
    "balance": "By epoch: what the discriminator says of real and of drawn images, and the losses of both networks",
    "betas": "Reconstruction, FID, KL with its parts and MIG, each over beta",
    "bottleneck": "PSNR over the numbers in the bottleneck, with skip connections and without",
    "collapse": "Samples while the generator alone is trained: a row for each number of its updates",
    "conditions": "Drawings under each condition, from one to the next, and under conditions that were never trained on",
    "confusion": "How many test drawings of each category were taken for which",
    "curves": "Loss and quality by epoch, in training and validation",
    "edges": "What the nets leave unexplained of each band of four pixel rows, and of four columns",
    "examples": "The first drawings of each category, a row each",
    "gradients": "How much of the gradient at the last word reaches the words before it",
    "guidance": "FID, and how often samples are recognised as what was asked for, over the strength of guidance",
    "interpolation": "Drawings decoded from codes in which the latent with the most KL moves, and the two with the most",
    "latent": "Drawings along single coordinates of z, and from one z to another",
    "mlp": "The table with the MLP as judge: FID, inception score, precision and recall of each set of drawings, with their spread",
    "reconstructions": "Test images beside what the decoder makes of their codes",
    "samples": "Drawings that the model made of random numbers",
    "start": "Mean and variance in each layer before training",
    "sweep": "What each setting of the search reached",
    "table": "FID, inception score, precision and recall of each set of drawings, as bars with their spread",
    "vaes": "The table of the two VAEs alone: FID, inception score, precision and recall of each set of drawings, with their spread",
    "ways": "The three ways to complete a drawing: seam, variety, share recognised, FID and time",
}


def sentences(text, limit=180):
    """The first sentences of a docstring, as many as fit: what a picture shows, for those who do not see it. Not what arguments are."""
    text = re.sub(r"\s+", " ", text.split("\n\n")[0]).strip()
    if argument := re.search(r"\{|; \w+: [\[(]", text):
        text = re.match(r"(?:.*[;.?!])?", text[:argument.start() + 1])[0].rstrip(";")
    found = ""
    for part in re.split(r"(?<=[.?!])\s", text):
        if found and len(found) + len(part) > limit:
            break
        found = f"{found} {part}".strip()
    return found


def joined(parts):
    """Sentences one after another, the last one without its full stop."""
    return " ".join(part if part[-1] in ".?!" else f"{part}." for part in parts if part).removesuffix(".")


def about(book, file, name):
    """What a picture of a file shows: its titles and the docstring of the function that draws it, of this file or another; or SHOWN."""
    call, said, titles = next((call for call in file.calls if call.picture == name), None), "", ""
    if call:
        own = file.docs.get(call.inside, "") if call.inside != "main" else ""
        if call.called.endswith("save_figure"):  # draws nothing: the function around it does
            said = sentences(own)
        else:
            module, _, function = call.called.rpartition(".")
            said = sentences((book.docs_of(module) if module else file.docs).get(function) or own)
            titles = "; ".join([title for title in dict.fromkeys(call.titles) if "..." not in title][:4])
            titles = re.sub("^[a-z](?=[a-z])", lambda first: first[0].upper(), titles)
    return joined([titles, said]) if said else SHOWN.get(name.removesuffix(".png"), titles)


def alternative(book, file, run, name):
    """A picture in words: its name, what it shows, the final figures of a curve, the data."""
    final = "; ".join(f"{key} {value}" for key, value in run.figures()[:3]) if name == "curves.png" else ""
    title = name.removesuffix(".png").replace("_", " ").capitalize()
    return joined([f"{title} of {run.name}", about(book, file, name), final and f"At the end: {final}", run.data])


class Chapter:
    """One file's page. book: what all pages know (build.Book)."""

    def __init__(self, book, file):
        self.book, self.file, self.links, self.runs = book, file, book.links, book.runs.get(file.path, [])
        self.asked = {}
        for asked in book.asked:
            if asked.question.file == file.path:
                self.asked.setdefault(asked.line, []).append(asked)
        self.code = code.coloured(file.text, lambda text: self.links.text(text, file.path))
        self.tags = book.links.tags.get(file.path, ())
        self.shown = set()  # pictures that have their place

    # ---- text ----

    def uses(self):
        """{equation: lines of code whose comment names it}, for the way back."""
        found = {}
        for section in self.file.sections:
            for n in (n for row in section.rows for n in row.code):
                comment = self.file.lines[n - 1].partition("  # ")[2]
                for tag in dict.fromkeys(re.findall(r"\((\d{1,2})\)", comment)):
                    found.setdefault(tag, []).append(n)
        return found

    def prose(self, part, backs=None):
        """A docstring or comment, with the questions about its lines below the paragraph or equation that they are about."""
        blocks, begin, out = prose.docstring(part.text, part.first, self.links, self.file.path, backs), part.first, []
        for (_, text), end in zip(blocks, [first for first, _ in blocks[1:]] + [part.last + 1]):
            out += [text, *(questions.marker(self.asked[n], self.links, words=True) for n in range(begin, end) if n in self.asked)]
            begin = end
        return f'<div class="said" data-lines="{part.first}-{part.last}">{"".join(out)}</div>'

    def line(self, n):
        asked = self.asked.get(n)
        shown = code.line(n, self.file.lines[n - 1], self.code[n - 1], " has" * bool(asked))
        return f'<div class="asked-line">{shown}{questions.marker(asked, self.links)}</div>' if asked else shown

    # ---- pictures ----

    def picture(self, call):
        """The picture of a call from each finished run, the plain run's in sight, the others' folded away."""
        here = [run for run in self.runs if call.picture in run.pictures]
        if not here or call.picture in self.shown:
            return ""
        self.shown.add(call.picture)
        explain = call.inside == "main" or not self.file.docs.get(call.inside)  # no docstring stands there
        first, *others = (self.figure(run, call.picture, call.line, explain) for run in here)
        more = "".join(f'<details class="fold"><summary>The same, of <code>OUT/{run.name}</code></summary>{figure}</details>'
                       for run, figure in zip(here[1:], others))
        return first + more

    def figure(self, run, name, line=0, explain=True):
        """explain: say what it shows below it, too."""
        picture, shows = run.pictures[name], about(self.book, self.file, name)
        where = f', <a href="#L{line}">line {line}</a>' if line else ""
        said = f". {prose.running(shows, self.links, self.file.path)}" if shows and explain else ""
        stand_in = f' <span class="data">{escape(run.data)}.</span>' if run.warns else ""
        alt = escape(alternative(self.book, self.file, run, name))
        return (f'<figure class="picture"><a href="pictures/{run.name}/{name}"><img src="pictures/{run.name}/{name}" alt="{alt}" '
                f'width="{picture.width}" height="{picture.height}"></a><figcaption><code>{name}</code>{where}{said}{stand_in}</figcaption>'
                "</figure>")

    def pictures_at(self, row):
        """Pictures that stand beside a row: those of the function that begins there, or of the statements from there on."""
        numbers, function = set(row.code), row.name if row.level == 3 else ""
        calls = [c for c in self.file.calls if (c.inside == function and function and c.inside != "main")
                 or (c.inside in ("main", "") and c.line in numbers)]
        return "".join(self.picture(call) for call in calls)

    # ---- the page ----

    def rows(self, section):
        parts = []
        for row in section.rows:
            label = ""
            if row.level:
                level, at = row.level, row.code[0] if row.code else row.prose[0].first
                label = f'<h{level} class="label"><a href="#L{at}">{escape(row.name)}</a></h{level}>'
            said = label + "".join(self.prose(part) for part in row.prose) + self.pictures_at(row)
            lines, empty = "".join(map(self.line, row.code)), not any(self.file.lines[n - 1].strip() for n in row.code)
            parts.append(f'<div class="row{" bare" * (not said)}"><div class="prose">{said}</div>'
                         f'<div class="code{" empty" * empty}" translate="no">{lines}</div></div>')
        return "\n".join(parts)

    def section(self, section):
        if section.line:
            number = f'<span class="number">{section.number}.</span> ' if section.number else ""
            name = f"section-{section.number}" if section.number else f"L{section.line}-section"
            head = (f'<h2 id="L{section.line}" data-lines="{section.line}-{section.line}"><a class="self" href="#L{section.line}">'
                    f"{number}{escape(section.title)}</a></h2>")
            return f'<section id="{name}">{head}\n{self.rows(section)}</section>'
        name = "Imports and names" if len(self.file.sections) > 1 else "The code"
        return f'<section id="section-0"><h2 class="quiet">{name}</h2>\n{self.rows(section)}</section>'

    def aside(self):
        file = self.file
        items = "".join(f'<li><a href="#L{s.line}">{s.number + ". " if s.number else ""}{escape(s.title)}</a> '
                        f'<span class="lines">line {s.line}</span></li>' for s in file.sections if s.line)
        parts = [f'<nav class="sections" aria-label="Sections"><h2>Sections</h2><ul>{items}</ul></nav>'] if items else []
        number = sum(len(asked) for asked in self.asked.values())
        notes = [f'<a href="exam.html#{slug(file.path, set())}">{number} exam questions</a>, each at its line: '
                 '<span class="mark" aria-hidden="true">?</span>'] if number else []
        notes += [f'<a href="{page}">The difference to <code>{other}</code></a>' for page, other in self.book.siblings_of(file.path)]
        if notes:
            parts.append('<div class="notes"><h2>Beside it</h2><ul>' + "".join(f"<li>{note}</li>" for note in notes) + "</ul></div>")
        if self.runs:
            run = self.runs[0]
            rows = "".join(f"<div><dt>{escape(key)}</dt><dd>{value}</dd></div>" for key, value in run.figures())
            seconds = f"{run.record['seconds']:.0f} s on {escape(str(run.record['device']))}; {run.record['parameters']:,} parameters"
            parts.append(f'<div class="run"><h2>The latest run</h2><p>{escape(run.data)}; {seconds}.</p><dl>{rows}</dl></div>')
        elif file.runs and any(c.picture != "sweep.png" for c in file.calls):
            name = file.path.rpartition("/")[2].removesuffix(".py")
            parts.append(f'<div class="run"><h2>The latest run</h2><p>There is no finished run of this file in OUT, so its pictures are '
                         f"missing: <code>make {name}</code> draws them, and <code>make book</code> puts them here.</p></div>")
        return f'<aside class="beside" aria-label="About this file">{"".join(parts)}</aside>' if parts else ""

    def leftover(self):
        """Pictures of the run that no line names: at the end, without a word on who draws them."""
        parts = [self.figure(run, name) for run in self.runs[:1] for name in run.pictures if name not in self.shown]
        return f'<section id="more-pictures"><h2>More pictures</h2><div class="gallery">{"".join(parts)}</div></section>' if parts else ""

    def body(self):
        file, number = self.file, self.book.order.index(self.file.path) + 1
        title = f'<h1 id="L1" data-lines="1-1">{prose.running(file.title, self.links, file.path)}</h1>'
        intro = self.prose(file.intro, self.uses()) if file.intro else ""
        head = (f'<header class="opening"><p class="where"><code>{file.path}</code> <span class="of">file {number} of '
                f"{len(self.book.order)}</span></p>{title}</header>")
        sections = "\n".join(map(self.section, file.sections))
        front = f'<div class="front"><div class="prose">{intro}</div>{self.aside()}</div>'
        return f'<article class="chapter" data-file="{file.path}">{head}{front}\n{sections}{self.leftover()}</article>'


