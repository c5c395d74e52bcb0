// Outlines organs in the open picture: runs `unet-engine predict` on it and loads the outlines into the ROI Manager.
// Installation, use from scripts, and remedies: README.md beside this file.
//
// Without an argument it asks. With one it asks nothing and stops at no window, so that it can run over a folder at night:
//
//   result = runMacro(".../Predict_Organs.ijm", "program=[/opt/unet-engine] model=[/home/me/runs] review");
//
//   program=[FILE]     unet-engine; its bare name where the PATH has it (the default)
//   model=[FOLDER]     a trained model, or a folder of models such as runs/
//   device=[DEVICE]    auto (the default), cpu, cuda, cuda:1
//   options=[WORDS]    more options of `predict`, such as --grid 5x7 --border 2
//   results=[FOLDER]   where masks, overlays, tables and archives stay; absent: the folder for temporary files
//   review             load also the objects just below the threshold
//   clear              empty the ROI Manager first; otherwise outlines are added to what is there
//
// The result is "ok: heart 12, liver 0", or "error: " and what went wrong; both stand in the Log window, too.

var program = "unet-engine", model = "", device = "auto", options = "", results = "", review = false, clear = false;
// What went wrong. Functions cannot leave the macro with a value, so their callers look here.
var problem = "";

argument = getArgument();
// From the Plugins menu, run("Predict Organs", "...") hands it over as a plugin's options.
if (argument == "")
    argument = "" + call("ij.Macro.getOptions");
if (argument == "null")
    argument = "";
scripted = lengthOf(argument) > 0;
if (scripted)
    readArgument(argument);
else
    ask();
found = "";
if (problem == "")
    found = predict();
if (problem != "") {
    print("Predict Organs: error: " + problem);
    showStatus("Predict Organs: error, see the Log");
    if (!scripted)
        exit("Predict Organs\n \n" + problem);
    return "error: " + problem;
}
showStatus("Predict Organs: " + found);
return "ok: " + found;

// Runs the program on the active image and loads what it found; returns the number of outlines per organ.
function predict() {
    if (nImages == 0) {
        problem = "no picture is open; open one, then run this again";
        return "";
    }
    parent = getDirectory("temp");
    name = "unet-engine-" + d2s(getTime(), 0);
    if (results != "") {
        parent = withSeparator(results);
        name = nameOfFile();
    }
    out = unusedFolder(parent, name);
    picture = fileOfPicture();
    isCopy = lengthOf(picture) == 0;
    if (isCopy)
        picture = saveCopy();
    line = commandLine(picture, out);
    said = runProgram(line);
    if (isCopy)
        forgetCopy(picture);
    // The folder is new and this file is written last: it is there if, and only if, the prediction came to its end.
    if (!File.exists(out + "report.html")) {
        problem = "unet-engine could not look for organs. It says:\n" + String.trim(said) + advice(said);
        return "";
    }
    print("\nPredict Organs: " + getTitle());
    print(String.trim(said));
    series = seriesFolder(out);
    counts = loadOutlines(series);
    return counts;
}

// The file that holds exactly the open picture, or "" if there is none that the program reads.
function fileOfPicture() {
    folder = getInfo("image.directory");
    name = getInfo("image.filename");
    file = folder + name;
    // Where there is no file, the name is the window's title. A renamed window is a duplicate, or a part of the file.
    if (folder == "" || name != getTitle() || is("changes") || !File.exists(file))
        return "";
    if (!matches(toLowerCase(name), ".*\\.(tiff?|png|jpe?g)"))
        return "";
    return file;
}

// Saves the open picture as TIFF and returns the file. Works on a duplicate: saving the picture itself would change its title, its file
// and the mark that it has unsaved changes.
function saveCopy() {
    original = getImageID();
    // Pictures with names such as composite.tif are called by their folder.
    folder = unusedFolder(getDirectory("temp"), nameOfFile());
    File.makeDirectory(folder);
    file = folder + nameOfFile() + ".tif";
    hasSelection = selectionType() != -1;
    // A duplicate is cut to the selection.
    if (hasSelection)
        run("Select None");
    wasBatch = is("Batch Mode");
    if (!wasBatch)
        setBatchMode(true);
    run("Duplicate...", "title=copy duplicate");
    saveAs("Tiff", file);
    close();
    if (!wasBatch)
        setBatchMode(false);
    selectImage(original);
    if (hasSelection)
        run("Restore Selection");
    return file;
}

// Results that are values would be printed.
function forgetCopy(file) {
    isDeleted = File.delete(file);
    isDeleted = File.delete(File.getParent(file));
}

// The window's title as the name of a file on every system, without extension.
function nameOfFile() {
    name = replace(getTitle(), "[/\\\\:*?\"<>|]", "_");
    name = replace(name, "(?i)\\.(tiff?|png|jpe?g)$", "");
    // Names that begin with a point are hidden; Windows knows none that end with one.
    name = replace(name, "^[. ]+|[. ]+$", "");
    if (name == "")
        return "picture";
    return name;
}

// The path of a folder that is not there yet, so that whatever is in it later comes from this run.
function unusedFolder(parent, name) {
    folder = parent + name;
    number = 2;
    while (File.exists(folder)) {
        folder = parent + name + "-" + number;
        number++;
    }
    return folder + File.separator;
}

function withSeparator(folder) {
    if (endsWith(folder, "/") || endsWith(folder, File.separator))
        return folder;
    return folder + File.separator;
}

function commandLine(picture, out) {
    line = "" + quote(program) + " predict";
    models = modelFolders();
    for (i = 0; i < models.length; i++)
        line = line + " --model " + quote(models[i]);
    if (device != "")
        line = line + " --device " + quote(device);
    words = newArray(0);
    if (options != "")
        words = split(options, " ");
    for (i = 0; i < words.length; i++)
        line = line + " " + quote(words[i]);
    return line + " --out " + quote(out) + " " + quote(picture);
}

// The chosen folder if it is a model, else the models in it; where there are none the chosen one, and the program says what it misses.
function modelFolders() {
    models = newArray(0);
    if (!isTrained(model) && File.isDirectory(model)) {
        names = getFileList(model);
        for (i = 0; i < names.length; i++) {
            folder = "" + withSeparator(model) + names[i];
            if (isTrained(folder))
                models = Array.concat(models, folder);
            else if (File.exists(folder + "config.toml"))
                print("Predict Organs: left out, since its training has not come to the end: " + folder);
        }
    }
    if (models.length == 0)
        return newArray(model);
    return models;
}

function isTrained(folder) {
    // File.exists() is a text, and no number, to whoever returns it.
    if (File.exists("" + withSeparator(folder) + "calibration.json"))
        return true;
    return false;
}

// One word for the shell.
function quote(word) {
    if (isWindows()) {
        // A backslash before the closing mark would take its meaning.
        if (endsWith(word, "\\"))
            word = word + "\\";
        return "\"" + word + "\"";
    }
    quoted = "'";
    for (i = 0; i < lengthOf(word); i++) {
        letter = substring(word, i, i + 1);
        if (letter == "'")
            letter = "'\\''";
        quoted = quoted + letter;
    }
    return quoted + "'";
}

function isWindows() {
    return startsWith(getInfo("os.name"), "Windows");
}

// exec() returns what a program writes to stdout, and no exit code; a shell adds the errors.
function runProgram(line) {
    if (isWindows())
        return exec("cmd", "/d", "/s", "/c", "\"" + line + " 2>&1\"");
    return exec("/bin/sh", "-c", line + " 2>&1");
}

// What to do where the shell speaks, and not the program.
function advice(said) {
    // An error of the program itself has its own remedy.
    if (indexOf(said, "error: ") >= 0)
        return "";
    if (indexOf(said, "not found") < 0 && indexOf(said, "not recognized") < 0 && indexOf(said, "Permission denied") < 0
            && String.trim(said) != "")
        return "";
    return "\nwhat to do: give the full path of the program unet-engine (now: " + program + ")";
}

// The folder of the only series.
function seriesFolder(out) {
    names = getFileList(out);
    for (i = 0; i < names.length; i++) {
        if (endsWith(names[i], "/"))
            return out + names[i];
    }
    return out;
}

// Loads the archives of all organs, says so, and returns the number of outlines per organ.
function loadOutlines(folder) {
    if (clear && roiManager("count") > 0)
        roiManager("reset");
    before = roiManager("count");
    counts = "";
    files = getFileList(folder);
    for (i = 0; i < files.length; i++) {
        if (endsWith(files[i], "_RoiSet.zip") && !endsWith(files[i], "_composite_RoiSet.zip")) {
            organ = substring(files[i], 0, lengthOf(files[i]) - lengthOf("_RoiSet.zip"));
            count = organ + " " + loadArchive(folder, organ, "RoiSet");
            if (review)
                count = count + " (" + loadArchive(folder, organ, "review") + " for review)";
            if (counts != "")
                counts = counts + ", ";
            counts = counts + count;
        }
    }
    print("outlines: " + counts);
    if (before > 0)
        print("added to " + before + " that were in the ROI Manager");
    print("report: " + folder + "report.html");
    if (roiManager("count") > before)
        showOutlines();
    return counts;
}

// Loads an organ's archive and returns how many outlines it has.
function loadArchive(folder, organ, kind) {
    archive = folder + organ + "_" + kind + ".zip";
    composite = folder + organ + "_composite_" + kind + ".zip";
    if (nSlices == 1 && File.exists(composite))
        archive = composite;
    // An archive without entries, which ImageJ takes for broken, is its end record alone.
    if (parseInt(File.length(archive)) <= 22)
        return 0;
    before = roiManager("count");
    roiManager("Open", archive);
    return roiManager("count") - before;
}

function showOutlines() {
    hasSelection = selectionType() != -1;
    // Otherwise the outlines of all sub-images would lie over each of them.
    if (nSlices > 1)
        roiManager("Associate", "true");
    roiManager("Show All");
    // It takes the selection away.
    if (hasSelection)
        run("Restore Selection");
}

// Asks for everything, and remembers it for the next time.
function ask() {
    Dialog.create("Predict Organs");
    Dialog.addFile("Program (unet-engine)", recall("program", program));
    Dialog.addDirectory("Model folder (or a folder of models)", recall("model", model));
    Dialog.addString("Device (auto, cpu, cuda)", recall("device", device), 10);
    Dialog.addString("Options of predict, more", recall("options", options), 30);
    Dialog.addDirectory("Results folder (empty: temporary)", recall("results", results));
    Dialog.addCheckbox("Review: load also what lies just below the threshold", parseInt(recall("review", "0")));
    Dialog.addCheckbox("Clear the ROI Manager first", false);
    Dialog.show();
    program = remember("program", String.trim(Dialog.getString()));
    model = remember("model", String.trim(Dialog.getString()));
    device = remember("device", String.trim(Dialog.getString()));
    options = remember("options", String.trim(Dialog.getString()));
    results = remember("results", String.trim(Dialog.getString()));
    review = parseInt(remember("review", "" + Dialog.getCheckbox()));
    clear = Dialog.getCheckbox();
    if (model == "")
        problem = "no model is given: choose the folder that unet-engine train wrote (--out)";
}

function recall(key, otherwise) {
    return call("ij.Prefs.get", "unet_engine." + key, otherwise);
}

function remember(key, value) {
    call("ij.Prefs.set", "unet_engine." + key, value);
    return value;
}

// Reads key=[value], key=value and bare keys one after the other, so that a value may contain whatever looks like a key.
function readArgument(text) {
    rest = String.trim(text);
    while (rest != "" && problem == "") {
        equals = indexOf(rest, "=");
        blank = indexOf(rest + " ", " ");
        if (equals < 0 || blank < equals) {
            assign(substring(rest, 0, blank), "true");
            rest = String.trim(substring(rest + " ", blank));
        } else {
            key = substring(rest, 0, equals);
            rest = substring(rest, equals + 1) + " ";
            first = 0;
            end = indexOf(rest, " ");
            if (startsWith(rest, "[")) {
                first = 1;
                end = indexOf(rest, "] ");
            }
            if (end < 0) {
                problem = "the value of " + key + " has no closing bracket";
            } else {
                assign(key, substring(rest, first, end));
                rest = String.trim(substring(rest, end + 1));
            }
        }
    }
    if (model == "" && problem == "")
        problem = "model=[FOLDER] is missing: the folder that unet-engine train wrote (--out)";
}

function assign(key, value) {
    if (key == "program")
        program = value;
    else if (key == "model")
        model = value;
    else if (key == "device")
        device = value;
    else if (key == "options")
        options = value;
    else if (key == "results")
        results = value;
    else if (key == "review")
        review = !matches(value, "false");
    else if (key == "clear")
        clear = !matches(value, "false");
    else
        problem = "unknown key " + key + " (known: program, model, device, options, results, review, clear)";
}
